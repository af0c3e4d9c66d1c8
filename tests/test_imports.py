"""`import skene`: light, and with exactly these names."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import skene

PUBLIC = [
    "BillingError",
    "BillingUnavailable",
    "CheckoutUnavailable",
    "ConditionFailed",
    "ConfigurationError",
    "Decision",
    "DecisionRow",
    "DefinitionError",
    "DeliveryError",
    "DeliveryFailed",
    "DeliveryRefused",
    "DeliveryUnknown",
    "Drift",
    "Fault",
    "FunnelRow",
    "Granted",
    "Hold",
    "IdempotencyConflict",
    "LinkInvalid",
    "Loop",
    "MailPolicy",
    "MessageState",
    "MeterUnknown",
    "Occasion",
    "Outcome",
    "Overridden",
    "Profile",
    "QueryError",
    "QueryRefused",
    "QueryTimeout",
    "QuotaExceeded",
    "Reason",
    "Recovery",
    "SchemaOutdated",
    "Skene",
    "SkeneError",
    "SkeneWarning",
    "Step",
    "StorageError",
    "StorageUnavailable",
    "SubjectInvalid",
    "SyncReport",
    "SyncRunning",
    "UNLIMITED",
    "WebhookRejected",
    "action",
    "billed",
    "billing_cycle",
    "calendar",
    "condition",
    "define_loop",
    "dump_loop",
    "lifetime",
    "load_loop",
    "rolling",
    "step",
    "trigger",
    "wait",
]

BACK_ENDS = {  # and what only some loops need
    "alembic",
    "asyncpg",
    "fastapi",
    "httpx",
    "jinja2",
    "openfeature",
    "opentelemetry",
    "pgqueuer",
    "prometheus_client",
    "resend",
    "sqlalchemy",
    "standardwebhooks",
    "starlette",
    "stripe",
    "uvicorn",
    "valkey",
}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after some code."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; {code}; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_import_skene_loads_no_back_end() -> None:
    loaded = loaded_by("import skene")
    assert "skene" in loaded
    assert loaded & BACK_ENDS == set()


def test_neither_does_a_configuration_that_uses_none() -> None:
    code = (
        "from skene import Skene, action, condition, define_loop, step; "
        "from skene.adapters.memory import MemoryStorage; "
        "usage = condition.usage(limit={'free': 3}, period='30d'); "
        "loop = define_loop(type='freemium', steps=[step(condition=usage, action=action.block('No.'))]); "
        "Skene(loop, storage=MemoryStorage())"
    )
    assert loaded_by(code) & BACK_ENDS == set()


@pytest.mark.parametrize(
    ("module", "package"), [("skene.adapters.stripe", "stripe"), ("skene.fastapi", "fastapi")]
)
def test_the_check_sees_what_is_loaded(module: str, package: str) -> None:
    assert package in loaded_by(f"import {module}")


def test_the_public_names_are_these() -> None:
    assert sorted(skene.__all__) == PUBLIC
    assert len(set(PUBLIC)) == len(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(skene, name)
    assert value is not None
    if callable(value) or type(value).__name__ == "module":
        assert value.__doc__


def test_nothing_else_looks_public() -> None:
    """What is reachable besides is a submodule, not a name somebody may come to rely on."""
    others = {name for name in vars(skene) if not name.startswith("_")} - set(PUBLIC)
    assert {name for name in others if type(getattr(skene, name)).__name__ != "module"} == set()


def test_names_are_loaded_when_they_are_asked_for() -> None:
    ways = {
        "import skene": {"skene"},
        "import skene; skene.define_loop": {"skene", "skene.definitions"},
        "from skene import Skene": {"skene", "skene.definitions", "skene.runtime"},
    }
    for code, expected in ways.items():
        loaded = loaded_by(code)
        assert expected - loaded == set()
        assert ("skene.runtime" in loaded) == ("skene.runtime" in expected), code


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    tree = ast.parse(inspect.getsource(skene))
    seen = next(part for part in tree.body if isinstance(part, ast.If))
    imported = {
        name.name: part.module
        for part in seen.body
        if isinstance(part, ast.ImportFrom)
        for name in part.names
    }
    assert sorted(imported) == sorted(skene.__all__)
    for name, home in imported.items():
        assert home is not None
        assert getattr(skene, name) is getattr(import_module(home), name)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'skene' has no attribute 'define_lop'"):
        _ = skene.define_lop  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue] - that is what is tried
    assert set(skene.__all__) <= set(dir(skene))
