"""Every error has a code that stays, something to do about it, and its section on the page."""

import ast
import re
from collections.abc import Iterator

import pytest

from skene import SkeneError
from skene.cli.failing import CommandError
from skene.cli.loading import LoadError
from tests.docs.markdown import ROOT, Page

PAGE = Page(ROOT / "docs" / "reference" / "errors.md")
CODES = {
    "SkeneError": "skene_error",
    "DefinitionError": "definition_invalid",
    "ConfigurationError": "configuration_invalid",
    "SubjectInvalid": "subject_invalid",
    "MeterUnknown": "meter_unknown",
    "QuotaExceeded": "quota_exceeded",
    "IdempotencyConflict": "idempotency_key_reused",
    "LinkInvalid": "link_invalid",
    "StorageError": "storage_failed",
    "StorageUnavailable": "storage_unavailable",
    "SchemaOutdated": "schema_outdated",
    "QueryError": "query_failed",
    "QueryRefused": "query_refused",
    "QueryTimeout": "query_timeout",
    "ConditionFailed": "condition_failed",
    "BillingError": "billing_failed",
    "BillingUnavailable": "billing_unavailable",
    "SyncRunning": "sync_running",
    "WebhookRejected": "webhook_rejected",
    "CheckoutUnavailable": "checkout_unavailable",
    "DeliveryError": "delivery_error",
    "DeliveryFailed": "delivery_failed",
    "DeliveryRefused": "delivery_refused",
    "DeliveryUnknown": "delivery_unknown",
}
"""Programs tell errors apart by these: a code that is changed here is changed for them."""


def family(root: type[SkeneError]) -> Iterator[type[SkeneError]]:
    """An error and all that are of its kind, as far as skene itself defines them."""
    if root.__module__.startswith("skene."):
        yield root
    for below in root.__subclasses__():
        yield from family(below)


def what_is_missing(error: type[SkeneError], page: Page) -> list[str]:
    own, name, missing = vars(error), error.__name__, []
    if "code" not in own or not re.fullmatch(r"[a-z]+(_[a-z]+)+", own["code"]):
        return [f"{name} has no code of its own"]
    if not own.get("fix", "").endswith("."):
        missing.append(f"{name} does not say what to do")
    if own["code"] not in page.anchors():
        return [*missing, f"{page.name} has no ### {own['code']}"]
    section = " ".join(page.section(own["code"]).split())
    if not section.startswith(f"`{name}`, raised by ") or f"What to do: {error.fix}" not in section:
        missing.append(f"{page.name} tells something else of {name}")
    return missing


def test_every_error_is_told_whole() -> None:
    errors = list(family(SkeneError))
    assert [fault for error in errors for fault in what_is_missing(error, PAGE)] == []
    assert {error.__name__: error.code for error in errors} == CODES
    assert len(set(CODES.values())) == len(CODES)


def test_an_error_that_is_not_told_is_found() -> None:
    class Silent(SkeneError):
        """Has nothing of its own."""

    class Unheard(SkeneError):
        code = "never_heard_of"

    assert what_is_missing(Silent, PAGE) == ["Silent has no code of its own"]
    assert what_is_missing(Unheard, PAGE) == [
        "Unheard does not say what to do",
        "docs/reference/errors.md has no ### never_heard_of",
    ]


def test_every_other_code_of_the_command_line_is_told() -> None:
    codes = {CommandError.code, LoadError.code}
    for file in (ROOT / "skene" / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                codes.add(node.value.value)
    codes |= {"unexpected_error"}
    told = re.findall(r"^### (\w+)$", PAGE.prose(), re.MULTILINE)
    assert set(told) == {*CODES.values(), *codes}


@pytest.mark.parametrize("name", CODES)
def test_an_error_knows_where_it_is_told(name: str) -> None:
    (error,) = [one for one in family(SkeneError) if one.__name__ == name]
    path, _, anchor = error.docs.fget(error.__new__(error)).partition("#")
    assert (ROOT / path.partition("/blob/main/")[2]).is_file()
    assert anchor in PAGE.anchors()
