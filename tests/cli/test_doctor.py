"""`skene doctor`: each check with the fault it is for, and without."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skene.adapters.postgres import PostgresStorage
from skene.adapters.postgres.facts import ServerFacts
from skene.adapters.system import SystemClock
from skene.cli.doctor import back_ends, surroundings
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from tests.cli.project import APP, CONFIG, LOOP, Project

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "sk_test_local0stripe"
ENV = f"{LOOP}\nskene = Skene.from_env(freemium, plans={{'price_pro': 'paid'}}, profile=load_profile)\n"
MEMORY = f"""{LOOP}
from skene.adapters.file import FileNotifier
from skene.adapters.memory import MemoryStorage
files = {{"resend": FileNotifier("outbox")}}
skene = Skene(freemium, storage=MemoryStorage(), notifiers=files, profile=load_profile)
"""

Findings = dict[str, tuple[str, str, str]]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *("DATABASE_URL", "VALKEY_URL", "STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET", "RESEND_API_KEY"),
        *("SKENE_SENDER", "RESEND_WEBHOOK_SECRET", "SKENE_PUBLIC_URL", "SKENE_SECRET", "SKENE_KEYRING"),
        *("STRIPE_API_BASE", "RESEND_API_URL", "WEB_CONCURRENCY", "UVICORN_WORKERS", "GUNICORN_CMD_ARGS"),
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stripe(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStripe]:
    fake = FakeStripe(now=lambda: datetime(2026, 1, 1, tzinfo=UTC), prices=["price_pro"], api_key=KEY)
    with serving(fake.app) as url:
        monkeypatch.setenv("STRIPE_API_BASE", url)
        monkeypatch.setenv("STRIPE_API_KEY", KEY)
        monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", SECRET)
        yield fake


@pytest.fixture
def resend(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeResend]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    fake = FakeResend(now=lambda: now, domains=["acme.test"], sending_keys=["re_only0sends"])
    with serving(fake.app) as url:
        monkeypatch.setattr("resend.api_url", url)  # else it stays what it was at the import
        monkeypatch.setenv("RESEND_API_KEY", "re_local0resend")
        monkeypatch.setenv("SKENE_SENDER", "Acme <team@acme.test>")
        yield fake


def look(project: Project, *args: str, code: int | None = None) -> Findings:
    """What is found, by check: severity, what was seen, advice; of several, the worst."""
    result = project.run("doctor", "--json", *args)
    said = json.loads(result.stdout)
    order = ["ok", "skipped", "warning", "error"]
    found: Findings = {}
    for one in sorted(said["findings"], key=lambda one: order.index(one["severity"])):
        found[one["check"]] = (one["severity"], one["seen"], one["advice"] or "")
    assert said["ok"] == all(one[0] != "error" for one in found.values())
    assert result.exit_code == (0 if said["ok"] else 1)
    if code is not None:
        assert result.exit_code == code, found
    for severity, seen, advice in found.values():
        assert seen
        assert advice or severity in ("ok", "skipped")  # what is wrong comes with what to do
        assert KEY not in seen + advice
        assert SECRET not in seen + advice
    return found


def test_a_healthy_app(project: Project) -> None:
    project.write("app.py", APP)
    found = look(project, "--app", "app:app", code=0)
    assert found["routes"][:2] == ("ok", "2 gated routes")
    assert {check for check, one in found.items() if one[0] == "warning"} == {"billing", "sender", "endpoint"}
    shown = project.run("doctor").stdout
    assert shown.endswith("0 errors, 3 warnings\n")
    assert "→ skene login stripe" in shown


def test_a_configuration_that_does_not_load(empty: Project) -> None:
    empty.write("skene_config.py", "skene = 1 / 0\n")
    severity, seen, advice = look(empty, code=1)["configuration"]
    assert (severity, advice) == ("error", "skene check")
    assert "ZeroDivisionError" in seen


def test_parts_that_do_not_fit(project: Project) -> None:
    project.write("skene_config.py", CONFIG.replace('provider="resend"', 'provider="resnd"'))
    assert "'resnd'" in look(project, code=1)["configuration"][1]


def test_a_template_that_cannot_be_rendered(project: Project) -> None:
    project.write("templates/upgrade_prompt.txt", '{% set subject = "x" %}{{ nobody_knows }}')
    severity, seen, _ = look(project, code=1)["templates"]
    assert (severity, "nobody_knows" in seen) == ("error", True)


def test_a_pattern_that_covers_no_route(project: Project) -> None:
    project.write("app.py", APP.replace("/api/features/", "/api/other/"))
    assert "covers no route" in look(project, "--app", "app:app", code=1)["routes"][1]


def test_an_app_without_a_gate(project: Project) -> None:
    project.write("app.py", "from fastapi import FastAPI\napp = FastAPI()\n")
    assert "has no gate" in look(project, "--app", "app:app", code=1)["routes"][1]


def test_a_database_that_cannot_be_reached(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ada:secret@127.0.0.1:1/app")
    empty.write("skene_config.py", ENV)
    severity, seen, advice = look(empty, code=1)["database"]
    assert (severity, "correct DATABASE_URL" in advice, "secret" in seen) == ("error", True, False)


def test_migrations_that_have_not_run_and_then_have(
    empty: Project, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres_dsn)
    empty.write("skene_config.py", ENV)
    found = look(empty, code=1)
    assert found["database"][0] == "ok"
    assert found["migrations"][::2] == ("error", "skene db upgrade")
    assert empty.run("db", "upgrade").exit_code == 0
    found = look(empty, code=0)
    assert [found[check][0] for check in ("database", "migrations", "clock", "pooler")] == ["ok"] * 4
    assert "no pooler" in found["pooler"][1]


@pytest.mark.parametrize(
    ("apart", "severity"),
    [(timedelta(0), "ok"), (timedelta(seconds=90), "warning"), (timedelta(minutes=-10), "error")],
)
def test_clocks_that_differ(
    apart: timedelta, severity: str, empty: Project, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SystemClock.now
    monkeypatch.setenv("DATABASE_URL", postgres_dsn)
    monkeypatch.setattr(SystemClock, "now", lambda self: now(self) + apart)
    empty.write("skene_config.py", ENV)
    empty.run("db", "upgrade")
    found = look(empty)["clock"]
    assert found[0] == severity
    assert ("NTP" in found[2]) == (severity != "ok")


@pytest.mark.parametrize("pooled", [True, False])
def test_a_pooler_is_told_of(
    pooled: bool, empty: Project, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def facts(self: object) -> ServerFacts:
        return ServerFacts(SystemClock().now(), "17.2", pooled)

    monkeypatch.setenv("DATABASE_URL", postgres_dsn)
    monkeypatch.setattr(PostgresStorage, "look_at_server", facts)
    empty.write("skene_config.py", ENV)
    empty.run("db", "upgrade")
    assert ("a pooler in transaction mode works" in look(empty)["pooler"][1]) is pooled


def test_an_engine_that_leaves_statements_behind_a_pooler(
    empty: Project, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skene.errors import ConfigurationError

    async def refuse(self: object) -> None:
        raise ConfigurationError("the database is behind a pooler, and the engine keeps prepared statements")

    monkeypatch.setenv("DATABASE_URL", postgres_dsn)
    monkeypatch.setattr(PostgresStorage, "start", refuse)
    empty.write("skene_config.py", ENV)
    assert look(empty, code=1)["pooler"][0] == "error"


@pytest.mark.parametrize(
    ("env", "args", "severity"),
    [
        ({}, (), "warning"),
        ({"WEB_CONCURRENCY": "4"}, (), "error"),
        ({"GUNICORN_CMD_ARGS": "--bind x -w 3"}, (), "error"),
        ({"UVICORN_WORKERS": "1"}, (), "warning"),
        ({}, ("--workers", "2"), "error"),
        ({"WEB_CONCURRENCY": "4"}, ("--workers", "1"), "warning"),
    ],
)
def test_memory_and_several_processes(
    env: dict[str, str], args: tuple[str, ...], severity: str, empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SKENE_SECRET": "x" * 32, **env}.items():
        monkeypatch.setenv(name, value)
    empty.write("skene_config.py", MEMORY)
    found = look(empty, *args)["workers"]
    assert (found[0], "MemoryStorage" in found[1]) == (severity, True)


def test_several_processes_and_a_secret_of_each_one_s_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look(project, "--workers", "2", code=1)["workers"][2].startswith("set SKENE_SECRET")
    monkeypatch.setenv("SKENE_SECRET", "x" * 32)
    assert look(project, "--workers", "2", code=0)["workers"][0] == "ok"


# -- services --


def test_stripe_that_answers(stripe: FakeStripe, empty: Project) -> None:
    empty.write("skene_config.py", ENV)
    assert look(empty, code=0)["billing"][:2] == ("ok", "Stripe answers; mode test")
    assert stripe.events == []


@pytest.mark.parametrize(
    ("spoil", "check", "says"),
    [
        (
            lambda fake: fake.fail(403, times=100, path="/v1/customers"),
            "billing",
            "read customers, write customers",
        ),
        (lambda fake: setattr(fake, "down", True), "billing", "Stripe failed"),
        (lambda fake: fake.get("price_pro").update(active=False), "prices", "price_pro"),
    ],
)
def test_stripe_that_does_not(
    spoil: Callable[[FakeStripe], Any], check: str, says: str, stripe: FakeStripe, empty: Project
) -> None:
    spoil(stripe)
    empty.write("skene_config.py", ENV)
    severity, seen, _ = look(empty, code=1)[check]
    assert (severity, says in seen) == ("error", True)


def test_a_key_that_stripe_refuses(
    stripe: FakeStripe, empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_another0stripe")
    empty.write("skene_config.py", ENV)
    assert "mistyped, rolled or expired" in look(empty, code=1)["billing"][1]


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_your_secret_goes_here", "sk_test_local0stripe"])
def test_a_webhook_secret_that_cannot_be_one(
    secret: str, stripe: FakeStripe, empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", secret)
    empty.write("skene_config.py", ENV)
    severity, seen, _ = look(empty, code=1)["configuration"]
    assert (severity, "WEBHOOK_SECRET" in seen.upper()) == ("error", True)


def test_secrets_that_have_been_mixed_up(
    stripe: FakeStripe, resend: FakeResend, empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESEND_WEBHOOK_SECRET", SECRET)
    empty.write("skene_config.py", ENV)
    assert "are the same" in look(empty, code=1)["webhook secret"][1]


def test_keys_of_two_modes(project: Project) -> None:
    (project.folder / ".env").write_text(f"PUBLISHABLE=pk_live_abcdefghijk\nOLD_KEY={KEY}\n")
    severity, seen, _ = look(project, code=1)["key modes"]
    assert (severity, seen.endswith("(live: PUBLISHABLE; test: OLD_KEY)")) == ("error", True)


@pytest.mark.parametrize(
    ("sender", "key", "severity", "says"),
    [
        ("a@acme.test", "re_local0resend", "ok", "acme.test is verified"),
        ("Acme <a@ACME.test>", "re_local0resend", "ok", "acme.test is verified"),
        ("a@slow.test", "re_local0resend", "error", "slow.test is pending"),
        ("a@gone.test", "re_local0resend", "error", "gone.test is not added"),
        ("a@acme.test", "re_only0sends", "skipped", "may only send"),
        ("a@acme.test", "re_nobody0knows", "error", "refuses the key"),
    ],
)
def test_senders(
    sender: str,
    key: str,
    severity: str,
    says: str,
    resend: FakeResend,
    empty: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resend.domains.known["slow.test"] = "pending"
    monkeypatch.setenv("SKENE_SENDER", sender)
    monkeypatch.setenv("RESEND_API_KEY", key)
    empty.write("skene_config.py", ENV)
    found = look(empty)["sender"]
    assert (found[0], says in found[1]) == (severity, True)


def answering(status: int, body: bytes) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": body})

    return app


def real_app() -> Any:
    from fastapi import FastAPI

    from skene import Skene
    from skene.adapters.memory import MemoryStorage
    from skene.adapters.stripe import StripeBilling
    from skene.fastapi import Gate

    app = FastAPI()
    skene = Skene(storage=MemoryStorage(), billing=StripeBilling(KEY, SECRET, {"*": "paid"}), notifiers={})
    Gate(skene, subject=lambda: "ada").install(app)
    return app


@pytest.mark.parametrize(
    ("app", "severity", "says"),
    [
        (real_app, "ok", "refuses what is not signed"),
        (lambda: answering(404, b"nothing here"), "error", "answers 404"),
        (lambda: answering(401, b"sign in"), "error", "answers 401"),
        (lambda: answering(200, b"welcome"), "error", "another server answers"),
    ],
)
def test_what_answers_at_the_public_address(
    app: Callable[[], Any], severity: str, says: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(app()) as url:
        monkeypatch.setenv("SKENE_PUBLIC_URL", url)
        project.write("skene_config.py", CONFIG.replace("profile=load", f"public_url={url!r}, profile=load"))
        found = look(project)["endpoint"]
    assert (found[0], says in found[1]) == (severity, True), found


def test_a_public_address_where_nobody_answers(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://127.0.0.1:1"
    monkeypatch.setenv("SKENE_PUBLIC_URL", url)
    project.write("skene_config.py", CONFIG.replace("profile=load", f"public_url={url!r}, profile=load"))
    assert "cannot be reached from here" in look(project, code=1)["endpoint"][1]


# -- surroundings --


@pytest.mark.parametrize(
    ("mode", "text", "severity"),
    [
        (0o644, f"STRIPE_API_KEY={KEY}", "warning"),
        (0o600, f"STRIPE_API_KEY={KEY}", "ok"),
        (0o644, "DEBUG=1", "ok"),
    ],
)
def test_who_may_read_env(mode: int, text: str, severity: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(text)
    (tmp_path / ".env").chmod(mode)
    (found,) = surroundings.env_file(tmp_path)
    assert found.severity == severity
    assert (found.advice == "chmod 600 .env") == (severity == "warning")


@pytest.mark.parametrize("there", [True, False])
def test_another_distribution(there: bool, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> SimpleNamespace:
        if not there:
            raise PackageNotFoundError(name)
        assert name == "skene"
        return SimpleNamespace(version="0.3.0")

    monkeypatch.setattr(surroundings, "distribution", distribution)
    found = look(project)["distribution"]
    assert (found[0], "skene 0.3.0" in found[1]) == ("error" if there else "ok", there)
    assert ("pip uninstall skene" in found[2]) == there


def test_a_check_that_fails_hides_no_other(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(patient: object) -> Any:
        raise LookupError("odd")
        yield

    monkeypatch.setattr(back_ends, "database", fail)
    found = look(project, code=1)
    assert "LookupError: odd" in found["fail"][1]
    assert "endpoint" in found
