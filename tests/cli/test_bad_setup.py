"""Bad input to the commands that set skene up: one clear line, the right exit code, never a traceback."""

import pytest

from tests.cli.project import Project
from tests.cli.test_bad_input import UNREACHABLE, Bad

KEY, SECRET = "sk_live_abcdefghijklmnop", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MAIN = """
from fastapi import Depends, FastAPI

def current_user_id() -> str:
    return "ada"

def nothing():
    return find()

app = FastAPI()

@app.post("/api/work")
def work(user: str = Depends(current_user_id)) -> str:
    return user
"""
ONE = {"main.py": MAIN}
AWAY = {"STRIPE_API_BASE": "http://127.0.0.1:1", "RESEND_API_URL": "http://127.0.0.1:1"}


def stripe(key: str = "sk_test_abcdefghijklmnop", secret: str = SECRET) -> str:
    return f"STRIPE_API_KEY={key}\nSTRIPE_WEBHOOK_SECRET={secret}\n"


def resend(key: str = "re_abcdefgh12", sender: str = "team@acme.test", more: str = "") -> str:
    return f"RESEND_API_KEY={key}\nSKENE_SENDER={sender}\n{more}"


INIT = {
    "no app": Bad(
        ("init", "--yes"), ("there is no `app = FastAPI(…)` in this folder (looked at 0 Python files)",)
    ),
    "no app, and a file that is no Python": Bad(
        ("init", "--yes"), ("broken.py:1", "is it in there?"), files={"broken.py": "def (:\n"}
    ),
    "a null byte": Bad(("init", "--yes"), ("odd.py", "is it in there?"), files={"odd.py": "x = '\0'\n"}),
    "no terminal": Bad(("init",), ("no terminal", "--yes"), 2, files=ONE),
    "json asks nothing": Bad(("init", "--json"), ("--yes or --dry-run",), 2, files=ONE),
    "an unknown pattern": Bad(
        ("init", "--yes", "--pattern", "fremium"), ("got 'fremium'", "did you mean freemium?"), 2, files=ONE
    ),
    "an empty pattern": Bad(("init", "--yes", "--pattern", ""), ("--pattern: got ''",), 2, files=ONE),
    "an app that is not there": Bad(
        ("init", "--yes", "--app", "mian:app"), ("got 'mian:app'", "did you mean main:app?"), 2, files=ONE
    ),
    "nonsense for an app": Bad(("init", "--yes", "--app", "::"), ("--app: got '::'",), 2, files=ONE),
    "two apps": Bad(
        ("init", "--yes"), ("there are 2 apps", "--app MODULE:NAME"), 2, files={**ONE, "two.py": MAIN}
    ),
    "a route that is not there": Bad(
        ("init", "--yes", "--route", "POST /api/wrok"), ("did you mean 'POST /api/work'?",), 2, files=ONE
    ),
    "a route without a method": Bad(
        ("init", "--yes", "--route", "/api/work"), ("give method and path of a route",), 2, files=ONE
    ),
    "a caller that is not there": Bad(
        ("init", "--yes", "--subject", "main:nobody"), ("--subject: got 'main:nobody'",), 2, files=ONE
    ),
    "a caller that is no function": Bad(
        ("init", "--yes", "--subject", "main:app"), ("--subject: got 'main:app'",), 2, files=ONE
    ),
    "a caller without an id": Bad(
        ("init", "--yes", "--subject", "main:nothing"), ("returns the caller's id",), 2, files=ONE
    ),
    "a caller that is nonsense": Bad(
        ("init", "--yes", "--subject", "x y"), ("--subject: got",), 2, files=ONE
    ),
    "another kind of database": Bad(
        ("init", "--yes"),
        ("DATABASE_URL: got mysql",),
        files=ONE,
        env={"DATABASE_URL": "mysql://a:secret@b/c"},
    ),
    "too much for init": Bad(("init", "here"), ("unexpected extra argument",), 2, files=ONE),
    "an app that does not import": Bad(
        ("init", "--yes"), ("skene check: ", "ZeroDivisionError"), files={"main.py": f"{MAIN}\n1 / 0\n"}
    ),
    "a key in the way of init": Bad(("init", "--yes", "--pattern", KEY), ("--pattern: got",), 2, files=ONE),
}
LOGIN = {
    "a service that is none": (Bad(("login", "paypal"), ("give stripe or resend",), 2), ""),
    "a key as an argument": (Bad(("login", KEY), ("A key on the command line is seen by others",), 2), ""),
    "a key as a second argument": (Bad(("login", "stripe", KEY), ("roll it",), 2), ""),
    "login without a terminal": (
        Bad(("login", "stripe"), ("keys are typed at a terminal", "--stdin"), 2),
        "",
    ),
    "nothing on standard input": (
        Bad(("login", "stripe", "--stdin"), ("no STRIPE_API_KEY and no STRIPE_WEBHOOK_SECRET",)),
        "",
    ),
    "half of it": (
        Bad(("login", "stripe", "--stdin"), ("there is no STRIPE_WEBHOOK_SECRET",)),
        f"STRIPE_API_KEY={KEY}",
    ),
    "lines without names": (Bad(("login", "stripe", "--stdin"), ("STRIPE_API_KEY=…",)), f"{KEY}\n{SECRET}\n"),
    "too long": (Bad(("login", "stripe", "--stdin"), ("more than 100,000 characters",)), "A" * 100_001),
    "a publishable key": (
        Bad(("login", "stripe", "--stdin"), ("STRIPE_API_KEY: got a publishable key (pk_…)",)),
        stripe(key="pk_live_abcdefghijklmnop"),
    ),
    "the two exchanged": (
        Bad(
            ("login", "stripe", "--stdin"), ("STRIPE_API_KEY: got a webhook signing secret", "got an API key")
        ),
        stripe(key=SECRET, secret=KEY),
    ),
    "a placeholder": (
        Bad(("login", "stripe", "--stdin"), ("STRIPE_WEBHOOK_SECRET: got a placeholder",)),
        stripe(secret="whsec_your_secret_goes_here"),
    ),
    "Stripe is away": (
        Bad(("login", "stripe", "--stdin"), ("Stripe cannot be reached; nothing was stored",), env=AWAY),
        stripe(),
    ),
    "no key of Resend's": (Bad(("login", "resend", "--stdin"), ("RESEND_API_KEY: got",)), resend(key="key")),
    "no sender": (Bad(("login", "resend", "--stdin"), ("SKENE_SENDER: got",)), resend(sender="nobody")),
    "a webhook secret of another kind": (
        Bad(("login", "resend", "--stdin"), ("RESEND_WEBHOOK_SECRET: got",)),
        resend(more=f"RESEND_WEBHOOK_SECRET={KEY}\n"),
    ),
    "Resend's address is none": (
        Bad(("login", "resend", "--stdin"), ("RESEND_API_URL: got",), env={"RESEND_API_URL": "nowhere"}),
        resend(),
    ),
    "Resend is away": (
        Bad(
            ("login", "resend", "--stdin"),
            ("Resend cannot be reached: ConnectError; nothing was stored",),
            env=AWAY,
        ),
        resend(),
    ),
}
REST = {
    "no processes": Bad(("doctor", "--workers", "0"), ("Invalid value for '--workers'", "1"), 2),
    "processes that are no number": Bad(("doctor", "--workers", "many"), ("valid int",), 2),
    "too much for doctor": Bad(("doctor", "now"), ("unexpected extra argument",), 2),
    "a prompt for no place": Bad(("prompt", "--agents-md", "--app", "a b"), ("--app: got 'a b'",), 2),
    "a prompt for no configuration": Bad(("prompt", "--agents-md", "--config", ""), ("--config: got ''",), 2),
}


def check(bad: Bad, stdin: str, project: Project, monkeypatch: pytest.MonkeyPatch, *, config: bool) -> None:
    for name in ("DATABASE_URL", "STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET", "RESEND_API_KEY", "SKENE_SENDER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in bad.env.items():
        monkeypatch.setenv(name, value)
    for name, text in bad.files.items():
        project.write(name, text)
    if config and bad.config is not None:
        project.write("skene_config.py", bad.config)
    result = project.run(*bad.args, stdin=stdin)
    plain = " ".join(result.stderr.replace("│", " ").split())
    for fragment in bad.says:
        assert fragment in plain
    assert result.exit_code == bad.code
    assert "Traceback" not in result.output
    for secret in (KEY, SECRET, "sk_test_abcdefghijklmnop", "re_abcdefgh12", ":secret@"):
        assert secret not in result.output
    if bad.code == 1:
        assert "error: " in result.stderr
    assert not (project.folder / ".env").exists()


@pytest.mark.parametrize("bad", INIT.values(), ids=INIT.keys())
def test_bad_input_to_init(bad: Bad, empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    check(bad, "", empty, monkeypatch, config=False)


@pytest.mark.parametrize(("bad", "stdin"), LOGIN.values(), ids=LOGIN.keys())
def test_bad_input_to_login(bad: Bad, stdin: str, empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    if "RESEND_API_URL" in bad.env:
        monkeypatch.setattr("resend.api_url", bad.env["RESEND_API_URL"])
    check(bad, stdin, empty, monkeypatch, config=False)


@pytest.mark.parametrize("bad", REST.values(), ids=REST.keys())
def test_bad_input_to_the_rest(bad: Bad, empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    check(bad, "", empty, monkeypatch, config=True)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "there is no skene_config.py in this folder"),
        (("--config", "nowhere:skene"), "there is no module nowhere"),
        (("--config", "a b"), "give module:name"),
    ],
)
def test_what_doctor_cannot_find_is_a_finding(args: tuple[str, ...], says: str, empty: Project) -> None:
    result = empty.run("doctor", *args)
    assert result.exit_code == 1
    assert says in result.stdout
    assert "Traceback" not in result.output


def test_an_app_that_doctor_cannot_find_is_a_finding(project: Project) -> None:
    result = project.run("doctor", "--app", "nowhere:app")
    assert (result.exit_code, "no module nowhere" in result.stdout) == (1, True)
    assert UNREACHABLE not in result.output


@pytest.mark.parametrize(
    "args",
    [
        ("init", KEY),
        (KEY,),
        ("doctor", KEY),
        ("outbox", KEY),
        ("usage", "ada", KEY),
        ("usage", f"--{KEY}"),
    ],
)
def test_a_key_in_any_wrong_place_is_not_said_again(args: tuple[str, ...], project: Project) -> None:
    result = project.run(*args)
    assert result.exit_code == 2
    assert "…" in result.stderr
    assert KEY not in result.output


@pytest.mark.parametrize("what", ["folder", "closed"])
def test_an_env_file_that_cannot_be_written(what: str, empty: Project) -> None:
    from skene.cli.dotenv import set_values
    from skene.cli.failing import CommandError

    path = empty.folder / ".env"
    if what == "folder":
        path.mkdir()
        with pytest.raises(CommandError, match=r"\.env: cannot be read"):
            set_values(path, {"A": "1"})
    else:
        (empty.folder / "file").write_text("")
        with pytest.raises(CommandError, match="cannot be written"):
            set_values(empty.folder / "file" / ".env", {"A": "1"})
