"""The demo: as it is run, and what it says when something is not as it should be."""

import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from skene import Skene, action, condition, define_loop, dump_loop, load_loop, step, trigger
from skene.adapters.sql.migrate import KNOWN
from skene.cli.demo import app as demo_app
from skene.cli.demo import stage as demo_stage
from skene.testing.resend_server import FakeResend
from skene.testing.stripe_server import FakeStripe
from tests.cli.project import Project

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "freemium"
STORY = [
    r"plan free, 0 of 100 calls used",
    r"POST /api/features/summarise .* 100/100",
    r"✓ 100 calls passed, 100 counted",
    r'RateLimit: "free";r=0;t=259\d{4}',
    r"✓ call 101 was answered 402 Payment Required",
    r'"code": "usage_limit_reached"',
    r"✓ 4 further calls were refused as well",
    r"✓ 1 e-mail arrived at Resend",
    r"Subject: You have reached the limit of your free plan",
    r"as HTML: (\S+)",
    r"✓ its link was followed: 303 to Checkout",
    r"✓ paid; \d signed webhooks were accepted, and the plan is paid",
    r"checkout\.session\.completed",
    r"✓ the next call was answered 200; 1 used on paid",
    r"freemium +1 +1 +1 +1 +1 +100\.0%",
]


def told(out: str) -> "re.Match[str]":
    """The whole story in its order, in plain text. Returns the match with the HTML file's path."""
    assert "\x1b" not in out, "colours, though nobody is looking"
    found = re.search(".*?".join(STORY), out, re.DOTALL)
    assert found, out
    return found


def test_on_sqlite(empty: Project) -> None:
    begun = time.monotonic()
    ended = empty.program("demo")
    assert ended.code == 0, ended.err
    assert time.monotonic() - begun < 60
    mail = Path(told(ended.out)[1])
    assert "Upgrade" in mail.read_text()
    assert [file.name for file in mail.parent.iterdir()] == ["upgrade_prompt.html"]
    assert not ended.err
    assert not list(empty.folder.iterdir()), "it left something in the user's folder"
    mail.unlink()
    mail.parent.rmdir()


def test_on_postgres_and_again(empty: Project, postgres_dsn: str) -> None:
    for applied in (f"migrations applied: {', '.join(KNOWN)}", "up to date"):
        ended = empty.program("demo", "--database", postgres_dsn)
        assert ended.code == 0, ended.err
        told(ended.out)
        assert applied in ended.out
        assert "SqliteStorage" not in ended.out


def test_kept_running_it_can_be_played_with(empty: Project) -> None:
    with empty.start("demo", "--keep") as demo:
        assert demo.stdout is not None
        lines: list[str] = []
        for line in demo.stdout:
            lines.append(line)
            if "for i in" in line:
                break
        told("".join(lines))
        url, key = re.search(r"curl -i (\S+) -H 'Authorization: (Bearer \S+)'", "".join(lines)).groups()
        for _ in range(101):
            answer = httpx.post(url, headers={"Authorization": key}, json={"text": "Why?"}, trust_env=False)
        assert answer.status_code == 402
        for line in demo.stdout:
            if "an e-mail to grace@example.test" in line:
                break
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=15)
    assert demo.returncode == 0, err
    assert out.endswith("stopped\n")


def test_its_configuration_is_the_example_s() -> None:
    assert dump_loop(demo_app.freemium) == dump_loop(load_loop(EXAMPLE / "seed.json"))


# --- what it says when something is wrong ---------------------------------------------------------


def limited_to(limit: int) -> object:
    block = action.block("Enough.", upgrade_prompt=action.email("upgrade_prompt", provider="resend"))
    counted = condition.usage(limit={"free": limit, "paid": "unlimited"}, period="30d")
    called = trigger.api("/api/features/*", method="POST")
    return define_loop(type="freemium", steps=[step(trigger=called, condition=counted, action=block)])


def fails(project: Project, name: str, says: str) -> None:
    result = project.run("demo")
    assert result.exit_code == 1, result.output
    assert f'error: the demo failed at the step "{name}": ' in result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("limit", "name", "says"),
    [
        (99, "100 calls pass", "status of call 100: expected 200, got 402"),
        (101, "100 calls pass", "calls left: expected 0, got 1"),
    ],
)
def test_another_limit(
    empty: Project, monkeypatch: pytest.MonkeyPatch, limit: int, name: str, says: str
) -> None:
    monkeypatch.setattr(demo_app, "freemium", limited_to(limit))
    fails(empty, name, says)


def test_a_mail_that_is_refused(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_stage, "FakeResend", lambda **rest: FakeResend(**{**rest, "api_keys": []}))
    fails(empty, "one e-mail arrives", "expected ['sent'], got ['dead (Resend answered 403 invalid_api_key")


def test_a_second_mail(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice(FakeResend):
        def sent_to(self, address: str) -> list[object]:
            return super().sent_to(address) * 2

    monkeypatch.setattr(demo_stage, "FakeResend", Twice)
    fails(empty, "one e-mail arrives", "e-mails at Resend: expected 1, got 2")


def test_stripe_that_is_down(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    class Down(FakeStripe):
        def connect(self, deliver: object) -> None:
            self.down = True

    monkeypatch.setattr(demo_stage, "FakeStripe", Down)
    fails(empty, "its link leads to Checkout", "status: expected 303, got 503")


def test_webhooks_that_do_not_arrive(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dropping(FakeStripe):
        def connect(self, deliver: str) -> None:
            super().connect(deliver)
            self.webhooks_dropped = True

    monkeypatch.setattr(demo_stage, "FakeStripe", Dropping)
    fails(empty, "the payment's webhooks arrive", "webhooks that the app did not accept: expected 0, got 3")


def test_webhooks_signed_with_another_secret(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    make = demo_app.make_skene
    monkeypatch.setattr(
        demo_stage,
        "make_skene",
        lambda storage, services, people: make(
            storage, replace(services, webhook_secret="whsec_another0signing0secret0"), people
        ),
    )
    fails(empty, "the payment's webhooks arrive", "did not accept")


def test_a_funnel_that_is_off(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object, **__: object) -> tuple[()]:
        return ()

    monkeypatch.setattr(Skene, "funnel", nothing)
    fails(empty, "the funnel shows it", "expected ['freemium'], got []")
