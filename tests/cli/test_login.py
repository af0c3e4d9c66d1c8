"""`skene login`, against the local Stripe and Resend."""

import json
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skene.cli import terminal
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from skene.wiring import Skene
from tests.cli.project import LOOP, Project

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RESEND_KEY, SENDING_KEY = "re_local0resend", "re_sending0only"
NAMES = ("STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET", "RESEND_API_KEY", "SKENE_SENDER", "RESEND_WEBHOOK_SECRET")


@dataclass
class Services:
    stripe: FakeStripe
    resend: FakeResend

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.stripe.api_key, SECRET, RESEND_KEY, SENDING_KEY)

    def stripe_lines(self) -> str:
        return f"STRIPE_API_KEY={self.stripe.api_key}\nSTRIPE_WEBHOOK_SECRET={SECRET}\n"


def resend_lines(key: str = RESEND_KEY, sender: str = "Acme <team@acme.test>") -> str:
    return f"RESEND_API_KEY={key}\nSKENE_SENDER='{sender}'\n"


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Services]:
    def now() -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    key = getattr(request, "param", "sk_test_local0stripe")
    stripe = FakeStripe(now=now, prices=["price_pro", "prod_team"], api_key=key)
    resend = FakeResend(now=now, api_keys=[RESEND_KEY], domains=["acme.test"], sending_keys=[SENDING_KEY])
    for name in (*NAMES, "SKENE_KEYRING"):
        monkeypatch.delenv(name, raising=False)
    with serving(stripe.app) as stripe_url, serving(resend.app) as resend_url:
        monkeypatch.setenv("STRIPE_API_BASE", stripe_url)
        monkeypatch.setenv("RESEND_API_URL", resend_url)
        yield Services(stripe, resend)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_checked_and_kept_for_their_owner_alone(services: Services, empty: Project) -> None:
    env = empty.folder / ".env"
    env.write_text("# ours\nexport OTHER='a b'  # kept\nSTRIPE_API_KEY=old\n\nLAST=1")
    env.chmod(0o644)
    result = empty.run("login", "stripe", "--stdin", stdin=services.stripe_lines())
    assert result.exit_code == 0, result.output
    assert "Stripe: test mode: no real money" in result.stdout
    assert "price_pro" in result.stdout
    assert "20.00 USD a month" in result.stdout
    assert 'plans={"price_of_prod_team": "paid", "price_pro": "paid"}' in result.stdout
    assert not any(secret in result.output for secret in services.secrets)
    text = env.read_text()
    assert text == (
        f"# ours\nexport OTHER='a b'  # kept\nSTRIPE_API_KEY={services.stripe.api_key}\n\nLAST=1\n"
        f"STRIPE_WEBHOOK_SECRET={SECRET}\n"
    )
    assert mode_of(env) == 0o600
    again = empty.run("login", "stripe", "--stdin", stdin=services.stripe_lines())
    assert (again.exit_code, env.read_text()) == (0, text)


def test_both_are_what_from_env_needs(services: Services, empty: Project) -> None:
    result = empty.run("login", "--stdin", stdin=services.stripe_lines() + resend_lines())
    assert result.exit_code == 0, result.output
    assert "acme.test: verified" in result.stdout
    names: dict[str, object] = {}
    exec(f"{LOOP}\nskene = Skene.from_env(freemium)\n", names)  # noqa: S102 - as a configuration does
    skene = names["skene"]
    assert isinstance(skene, Skene)
    assert (skene.billing.name, list(skene.notifiers)) == ("stripe", ["resend"])


def test_as_data(services: Services, empty: Project) -> None:
    result = empty.run("login", "stripe", "--stdin", "--json", stdin=services.stripe_lines())
    said = json.loads(result.stdout)
    assert said["stored"] == ["STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET"]
    assert said["stripe"]["mode"] == "test"
    assert {one["price"] for one in said["stripe"]["prices"]} == {"price_pro", "price_of_prod_team"}
    assert not any(secret in result.output for secret in services.secrets)


@pytest.mark.parametrize("services", ["sk_live_local0stripe"], indirect=True)
def test_live_mode_is_plain_to_see(services: Services, empty: Project) -> None:
    result = empty.run("login", "stripe", "--stdin", stdin=services.stripe_lines())
    assert "Stripe: LIVE mode: real customers, real money" in result.stdout


@pytest.mark.parametrize("services", ["rk_test_local0stripe"], indirect=True)
def test_permissions_that_a_restricted_key_lacks_are_named(services: Services, empty: Project) -> None:
    services.stripe.fail(403, times=100, path="/v1/events")
    services.stripe.fail(403, times=100, path="/v1/checkout/sessions")
    result = empty.run("login", "stripe", "--stdin", stdin=services.stripe_lines())
    assert result.exit_code == 0, result.output
    told = "the restricted key lacks permissions: read events, write checkout sessions;"
    assert told in result.stderr


def test_asking_about_permissions_changes_nothing(services: Services, empty: Project) -> None:
    assert empty.run("login", "stripe", "--stdin", stdin=services.stripe_lines()).exit_code == 0
    assert services.stripe.events == []


def test_a_key_that_is_refused_is_not_kept(services: Services, empty: Project) -> None:
    lines = services.stripe_lines().replace("sk_test_local0stripe", "sk_test_another0stripe")
    result = empty.run("login", "stripe", "--stdin", stdin=lines)
    assert result.exit_code == 1
    assert "Stripe refuses STRIPE_API_KEY: mistyped, rolled or expired" in result.stderr
    assert "another0stripe" not in result.output
    assert not (empty.folder / ".env").exists()


def test_a_sender_whose_domain_is_not_verified(services: Services, empty: Project) -> None:
    services.resend.domains.known["slow.test"] = "pending"
    for sender, told in (("a@slow.test", "slow.test is pending"), ("a@gone.test", "gone.test is not added")):
        result = empty.run("login", "resend", "--stdin", stdin=resend_lines(sender=sender))
        assert result.exit_code == 0
        assert told in result.stderr


def test_a_key_that_may_only_send(services: Services, empty: Project) -> None:
    result = empty.run("login", "resend", "--stdin", stdin=resend_lines(SENDING_KEY))
    assert result.exit_code == 0, result.output
    assert "whether acme.test is verified cannot be seen" in result.stderr


def test_a_key_that_resend_refuses(services: Services, empty: Project) -> None:
    result = empty.run("login", "resend", "--stdin", stdin=resend_lines("re_nobody0knows"))
    assert result.exit_code == 1
    assert "Resend refuses the key" in result.stderr
    assert not (empty.folder / ".env").exists()


def test_what_is_typed_is_not_seen(
    services: Services, empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "has_terminal", lambda: True)
    result = empty.run("login", "stripe", stdin=f"{services.stripe.api_key}\n{SECRET}\n")
    assert result.exit_code == 0, result.output
    assert not any(secret in result.output for secret in services.secrets)
    kept = empty.run("login", "stripe", stdin="\n\n")  # Enter keeps what is there
    assert kept.exit_code == 0, kept.output


class Drawer:
    """A keyring of the test's own, in place of the system's."""

    priority = 1

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def set_password(self, service: str, name: str, value: str) -> None:
        self.kept[service, name] = value

    def get_password(self, service: str, name: str) -> str | None:
        return self.kept.get((service, name))


@pytest.fixture
def drawer(monkeypatch: pytest.MonkeyPatch) -> Drawer:
    keyring = pytest.importorskip("keyring")
    made = Drawer()
    monkeypatch.setattr(keyring, "set_password", made.set_password)
    monkeypatch.setattr(keyring, "get_password", made.get_password)
    return made


def test_the_keyring_holds_the_secrets_and_from_env_finds_them(
    services: Services, empty: Project, drawer: Drawer
) -> None:
    lines = services.stripe_lines() + resend_lines()
    result = empty.run("login", "--stdin", "--keyring", stdin=lines)
    assert result.exit_code == 0, result.output
    text = (empty.folder / ".env").read_text()
    assert not any(secret in text for secret in services.secrets)
    assert "SKENE_KEYRING=" in text
    assert {name for _, name in drawer.kept} == {"STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET", "RESEND_API_KEY"}
    names: dict[str, object] = {}
    exec(f"{LOOP}\nskene = Skene.from_env(freemium)\n", names)  # noqa: S102 - as a configuration does
    skene = names["skene"]
    assert isinstance(skene, Skene)
    assert skene.billing.name == "stripe"


def test_doctor_knows_what_is_in_the_keyring(project: Project, drawer: Drawer) -> None:
    project.write(".env", "SKENE_KEYRING=skene:app\n")

    def several() -> list[str]:
        said = json.loads(project.run("doctor", "--json", "--workers", "2").stdout)
        return [one["seen"] for one in said["findings"] if one["check"] == "workers"]

    assert "a secret of its own" in several()[0]
    drawer.set_password("skene:app", "SKENE_SECRET", "x" * 32)
    assert "a secret of its own" not in several()[0]


def test_without_the_extra_its_name_is_told(
    services: Services, empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    result = empty.run("login", "stripe", "--stdin", "--keyring", stdin=services.stripe_lines())
    assert result.exit_code == 1
    assert 'pip install "skene-sdk[keyring]"' in result.stderr


def test_a_keyring_that_is_locked_is_told_of(
    services: Services, empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = pytest.importorskip("keyring")
    from keyring.errors import KeyringLocked

    def refuse(*_: object) -> None:
        raise KeyringLocked(f"no {services.stripe.api_key}")

    monkeypatch.setattr(keyring, "set_password", refuse)
    result = empty.run("login", "stripe", "--stdin", "--keyring", stdin=services.stripe_lines())
    assert result.exit_code == 1
    assert "a keyring that does not answer (KeyringLocked)" in result.stderr
    assert services.stripe.api_key not in result.output


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "A='x y'\n"),
        ("A=1", "A='x y'\n"),
        ("A=1\r\nB=2\r\n", "A='x y'\r\nB=2\r\n"),
        ("# A=0\nexport A=1 # why\nB='A=2'\n", "# A=0\nexport A='x y'\nB='A=2'\n"),
        ('B="two\nA=3"\nA=1\n', "B=\"two\nA=3\"\nA='x y'\n"),
        ("nonsense here\nB=1\n", "nonsense here\nB=1\nA='x y'\n"),
    ],
)
def test_lines_of_an_env_file(before: str, after: str, tmp_path: Path) -> None:
    from skene.cli.dotenv import read_values, set_values

    path = tmp_path / ".env"
    path.write_bytes(before.encode())
    set_values(path, {"A": "x y"})
    assert path.read_bytes().decode() == after
    assert read_values(path)["A"] == "x y"


@pytest.mark.parametrize(
    "value", ["plain", "a b", "#", "$HOME", "it's", '"', "\\", "a'b\"c\\d", "Acme <a@b.c>", ""]
)
def test_a_value_is_read_as_it_was_written(value: str, tmp_path: Path) -> None:
    from skene.cli.dotenv import read_values, set_values

    path = tmp_path / ".env"
    set_values(path, {"A": value, "B": "1"})
    assert read_values(path) == {"A": value, "B": "1"}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    from skene.cli.dotenv import set_values

    real = tmp_path / "real.env"
    real.write_text("B=1\n")
    (tmp_path / ".env").symlink_to(real)
    set_values(tmp_path / ".env", {"A": "1"})
    assert (tmp_path / ".env").is_symlink()
    assert real.read_text() == "B=1\nA=1\n"
