"""What keeps an app from starting: every fault, all in one error, before anything is opened."""

from pathlib import Path
from typing import Any

import pytest

from skene import ConfigurationError, Skene, action
from skene.adapters.manual import ManualBilling
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.adapters.stripe import StripeBilling
from tests.runtime.shop import Shop, Wire, freemium


def faults(*loops: Any, **options: Any) -> list[str]:
    return [str(fault) for fault in Shop(*loops, **options).skene.faults()]


def mails(template: str, provider: str | None = "mail", **more: Any) -> Any:
    return freemium(upgrade_prompt=action.email(template, provider=provider, **more))


async def test_what_fits_together_starts_and_starts_again() -> None:
    shop = Shop()
    assert faults() == []
    await shop.skene.start()
    await shop.skene.start()
    assert shop.wire.verbs == ["start", "start"]


def test_a_plan_without_a_limit() -> None:
    (fault,) = faults(billing=ManualBilling(["paid", "team"]))
    assert fault.startswith("freemium.steps[0].condition.limit: got no limit for the plan 'team'")
    (default,) = faults(billing=ManualBilling(["paid"], default="basic"))
    assert "'basic'" in default


def test_no_notifier_at_all() -> None:
    (fault,) = faults(notifiers={})
    assert fault.startswith("freemium.steps[0].action.upgrade_prompt.provider: got no notifier at all; give")


def test_an_unknown_provider_with_what_there_is_and_the_nearest() -> None:
    (fault,) = faults(mails("upgrade_prompt", "mial"))
    assert fault == (
        "freemium.steps[0].action.upgrade_prompt.provider: got 'mial', which is not among the notifiers; "
        "give one of those given to Skene: mail; did you mean mail?"
    )
    (far,) = faults(mails("upgrade_prompt", "sendgrid"))
    assert "did you mean" not in far


def test_a_mail_that_names_no_provider_goes_through_the_first() -> None:
    assert faults(mails("upgrade_prompt", None)) == []


def test_a_template_that_does_not_exist_with_the_places_that_were_searched(tmp_path: Path) -> None:
    shop = Shop(mails("upgrade_promt"), notifiers={"mail": MemoryNotifier(templates=tmp_path)})
    (fault,) = map(str, shop.skene.faults())
    assert fault.startswith(
        "freemium.steps[0].action.upgrade_prompt.template: got 'upgrade_promt'; give one that"
    )
    assert str(tmp_path) in fault
    assert fault.endswith("did you mean 'upgrade_prompt'?")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{% set subject = "Hi" %}{{ user.name', "line 1"),
        ('{% set subject = "Hi" %}{{ unheard_of }}', "unheard_of"),
        ("Hello", "sets no subject"),
    ],
)
def test_a_template_that_cannot_be_sent(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(content)
    shop = Shop(mails("mine"), notifiers={"mail": MemoryNotifier(templates=tmp_path)})
    (fault,) = map(str, shop.skene.faults())
    assert "action.upgrade_prompt.template: got 'mine'" in fault
    assert says in fault


def test_variables_and_subject_lines_are_checked_with_their_template() -> None:
    (fault,) = faults(mails("upgrade_prompt", personalization={"team": "{{ user.team"}))
    assert "template" in fault
    (line,) = faults(mails("upgrade_prompt", subject="{{ oops }}"))
    assert "oops" in line


def test_the_warning_is_checked_too_and_once_however_many_thresholds_there_are() -> None:
    loop = freemium(notify_at=(0.5, 0.8, 1.0), warning=action.email("no_such_warning", provider="mail"))
    (fault,) = faults(loop)
    assert fault.startswith("freemium.steps[0].action.warning.template: got 'no_such_warning'")
    assert faults(freemium(notify_at=(0.5,))) == []  # skene's own


@pytest.mark.parametrize(
    "url",
    [
        "app.test",
        "localhost:8000",
        "ftp://app.test",
        "https://",
        "https://app.test?x=1",
        "https://app.test/#top",
        "javascript:alert(1)",
        "http://[half",
        "http://app.test:port",
        "//app.test",
        "https://ada@app.test",
    ],
)
def test_an_address_that_people_cannot_reach(url: str) -> None:
    (fault,) = faults(public_url=url)
    assert fault.startswith("Skene(public_url=…): got ")
    assert "give an address such as https://app.acme.test" in fault


def test_an_address_is_shown_as_it_was_given() -> None:
    (fault,) = faults(public_url="app.test")
    assert fault.startswith('Skene(public_url=…): got "app.test" (str); give an address')


def test_an_address_is_not_shown_with_a_password_in_it() -> None:
    """Nor can it stand in the links of mails."""
    (fault,) = faults(public_url="https://ada:hunter2@app.test")
    assert "hunter2" not in fault


@pytest.mark.parametrize("url", ["https://app.test", "https://app.test/", "http://localhost:8000/sub/path"])
def test_an_address_that_people_can_reach(url: str) -> None:
    assert faults(public_url=url) == []


@pytest.mark.parametrize(
    ("key", "url", "wrong"),
    [
        ("sk_live_of0the0app", None, True),
        ("rk_live_of0the0app", "http://localhost:3000", True),
        ("sk_live_of0the0app", "https://app.test", False),
        ("sk_test_of0the0app", None, False),
    ],
)
def test_no_links_to_localhost_for_those_who_really_pay(key: str, url: str | None, wrong: bool) -> None:
    billing = StripeBilling(api_key=key, webhook_secret="whsec_of0the0app0itself", plans={"price_1": "paid"})
    found = faults(billing=billing, public_url=url)
    assert len(found) == wrong
    if wrong:
        assert found[0].startswith(
            "Skene(public_url=…): got http://localhost beside a live Stripe key; give where"
        )
        assert "SKENE_PUBLIC_URL" in found[0]


@pytest.mark.parametrize("prefix", ["skene", "/skene/", "", "/", "/sk ene", "/{who}", "//"])
def test_a_prefix_that_is_no_path(prefix: str) -> None:
    found = faults(prefix=prefix)
    assert any(fault.startswith("Skene(prefix=…): got ") for fault in found)


def test_a_prefix_of_ones_own() -> None:
    assert faults(prefix="/billing/skene-v2") == []


def test_a_misspelt_choice_is_no_silent_default() -> None:
    (fault,) = faults(on_storage_error="alow")
    assert fault == 'Skene(on_storage_error=…): got "alow" (str); give "deny" or "allow"; did you mean allow?'


async def test_all_faults_are_in_one_error_and_nothing_was_opened() -> None:
    wire = Wire(MemoryStorage())
    skene = Skene(
        freemium(notify_at=(0.5,), warning=action.email("nope", provider="mail")),
        mails("upgrade_prompt", "mial"),
        storage=wire,  # type: ignore[arg-type] # it answers every verb
        billing=ManualBilling(["paid", "team"]),
        notifiers={"mail": MemoryNotifier()},
        public_url="nowhere",
        prefix="skene/",
        on_storage_error="alow",  # type: ignore[arg-type] # what is tried here
    )
    with pytest.raises(ConfigurationError) as caught:
        await skene.start()
    text = str(caught.value)
    assert text.startswith(f"skene cannot start: {len(caught.value.faults)} faults\n  ")
    for word in ("two loops", "'team'", "'nope'", "'mial'", "public_url", "prefix", "on_storage_error"):
        assert word in text
    assert wire.verbs == []
    with pytest.raises(ConfigurationError):
        async with skene.lifespan():
            pytest.fail("it must not start")
    assert wire.verbs == []
