"""Parts of the wrong kind, and settings that cannot mean anything: said where they are handed over."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from skene import ConfigurationError, Skene
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.errors import WebhookRejected
from skene.ports.notifier import Reporting
from skene.testing.resend_server import FakeReport
from skene.testing.resend_webhooks import sign_report
from tests.runtime.shop import freemium


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (
            {"storage": "app.db"},
            'Skene(storage=…): got "app.db" (str); give a storage; did you mean a SqliteStorage',
        ),
        ({"storage": Path("app.db")}, "did you mean a SqliteStorage or PostgresStorage of it?"),
        ({"storage": MemoryStorage}, "did you mean MemoryStorage(…)?"),
        ({"storage": None}, "Skene(storage=…): got None; give a storage"),
        ({"billing": {"price_1": "paid"}}, "Skene(billing=…): got a dict of 1; give a StripeBilling, a Man"),
        ({"notifiers": [MemoryNotifier()]}, "Skene(notifiers=…): got a list of 1; give notifiers by name"),
        ({"notifiers": MemoryNotifier()}, "did you mean {name: notifier}?"),
        ({"notifiers": {"mail": "re_1234567890"}}, "Skene(notifiers=…)['mail']: got a value of type str"),
        ({"notifiers": {"mail": MemoryNotifier}}, "did you mean MemoryNotifier(…)?"),
        ({"profile": "ada@acme.test"}, "Skene(profile=…): got "),
        ({"link_lifetime": 30}, "Skene(link_lifetime=…): got 30 (int); give a timedelta of a second or more"),
        ({"link_lifetime": timedelta(0)}, "Skene(link_lifetime=…): got "),
    ],
)
def test_a_part_of_the_wrong_kind(part: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Skene(freemium(), **{"storage": MemoryStorage(), "notifiers": {}, **part})
    (fault,) = map(str, caught.value.faults)
    assert says in fault


def test_a_password_in_a_storage_that_is_only_an_address_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Skene(freemium(), storage="postgresql://ada:hunter2@db/app")  # type: ignore[arg-type] # what is refused
    assert "hunter2" not in str(caught.value)


def test_loops_are_given_one_after_another() -> None:
    for make in (
        lambda: Skene([freemium()], storage=MemoryStorage()),
        lambda: Skene.from_env([freemium()], env={}),
    ):  # type: ignore[arg-type] # what is refused
        with pytest.raises(ConfigurationError, match=r"got a list of 1; .* did you mean \*loops\?"):
            make()


def test_everything_of_the_wrong_kind_is_in_one_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Skene("freemium", storage=None, notifiers=[], link_lifetime=1)  # type: ignore[arg-type] # what is refused
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite+aiosqlite://"])
def test_an_address_of_no_file_is_not_taken_for_the_default(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL: got an address without a file"):
        Skene.from_env(freemium(), env={"DATABASE_URL": url})


def test_counting_in_valkey_is_one_variable() -> None:
    skene = Skene.from_env(freemium(), env={"VALKEY_URL": "valkey://:hunter2@localhost"})
    assert repr(skene.storage) == "ValkeyStorage(…, storage=SqliteStorage('skene.db'))"
    with pytest.raises(ConfigurationError, match="valkey://host:port"):
        Skene.from_env(freemium(), env={"VALKEY_URL": "localhost:6379"})


def test_counting_in_valkey_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skene.adapters.valkey", None)
    with pytest.raises(ConfigurationError, match=r'pip install "skene-sdk\[valkey\]"'):
        Skene.from_env(freemium(), env={"VALKEY_URL": "valkey://localhost"})


@pytest.mark.parametrize("url", ["ada:hunter2@db.test/app", "hunter2"])
def test_an_address_without_a_scheme_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL: got an address without a scheme") as caught:
        Skene.from_env(freemium(), env={"DATABASE_URL": url})
    assert "hunter2" not in str(caught.value)


def test_a_price_for_an_unknown_plan_is_found_without_keys_for_stripe() -> None:
    skene = Skene.from_env(freemium(), plans={"price_1": "paid", "price_2": "team"}, env={})
    assert ["'team'" in str(fault) for fault in skene.faults()] == [True]
    assert Skene.from_env(freemium(), plans={"price_1": "paid"}, env={}).faults() == ()


RESEND = {"RESEND_API_KEY": "re_abcdef", "SKENE_SENDER": "Acme <team@acme.test>"}
SIGNING = "whsec_bG9jYWwwcmVzZW5kMHNpZ25pbmcwc2VjcmV0"


def test_resends_reports_are_taken_with_their_secret_only() -> None:
    body = b'{"type": "email.opened", "data": {}}'
    now = datetime(2026, 11, 20, tzinfo=UTC)
    signed = sign_report(FakeReport("msg_1", body), SIGNING, now)
    for env in (RESEND, {**RESEND, "RESEND_WEBHOOK_SECRET": " "}):
        notifier = Skene.from_env(freemium(), env=env).notifiers["resend"]
        assert isinstance(notifier, Reporting)
        with pytest.raises(WebhookRejected, match="webhook_secret"):
            notifier.parse_report(body, signed, now)
    made = Skene.from_env(freemium(), env={**RESEND, "RESEND_WEBHOOK_SECRET": SIGNING}).notifiers["resend"]
    assert isinstance(made, Reporting)
    assert made.parse_report(body, signed, now) is not None


def test_a_secret_for_reports_belongs_to_an_account_and_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="RESEND_API_KEY: got nothing"):
        Skene.from_env(freemium(), env={"RESEND_WEBHOOK_SECRET": SIGNING})
    with pytest.raises(ConfigurationError, match=r"ResendNotifier\.webhook_secret") as caught:
        Skene.from_env(freemium(), env={**RESEND, "RESEND_WEBHOOK_SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)
