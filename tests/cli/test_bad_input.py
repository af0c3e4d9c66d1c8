"""Bad input: one clear line on standard error, the right exit code, never a traceback."""

import json
import socket
from dataclasses import dataclass, field

import pytest

from tests.cli.project import APP, CONFIG, LOOP, Project

UNREACHABLE = "postgresql://ada:secret@127.0.0.1:1/app"
POSTGRES = f"""{LOOP}
from skene.adapters.postgres import PostgresStorage
skene = Skene(freemium, storage=PostgresStorage({UNREACHABLE!r}), notifiers={{}})
"""
MEMORY = f"""{LOOP}
from skene.adapters.memory import MemoryStorage
skene = Skene(freemium, storage=MemoryStorage(), notifiers={{}})
"""


@dataclass(frozen=True)
class Bad:
    """A command that cannot work.

    Attributes:
        args: its arguments.
        says: what standard error must contain.
        code: the exit code.
        config: the configuration; None for no file at all.
        files: further files.
        env: variables.
    """

    args: tuple[str, ...]
    says: tuple[str, ...]
    code: int = 1
    config: str | None = CONFIG
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


BAD = {
    # the command line
    "no such command": Bad(("funel",), ("No such command 'funel'",), 2),
    "no such option": Bad(("funnel", "--sinse", "30d"), ("No such option: --sinse",), 2),
    "no subject": Bad(("usage",), ("Missing argument 'SUBJECT'",), 2),
    "too much": Bad(("usage", "ada", "bob"), ("unexpected extra argument",), 2),
    "a port that is no number": Bad(("demo", "--port", "http"), ("--port", "valid integer"), 2),
    "a port out of range": Bad(("demo", "--port", "70000"), ("--port", "65535"), 2),
    "no plan": Bad(("plan", "set", "ada"), ("Missing argument 'PLAN'",), 2),
    # finding the configuration
    "no file": Bad(("funnel",), ("there is no skene_config.py in this folder", "--config"), config=None),
    "no file for db": Bad(("db", "upgrade"), ("there is no skene_config.py", "--database"), config=None),
    "no such module": Bad(
        ("usage", "ada", "--config", "skene_confg:skene"),
        ("no module skene_confg", "did you mean skene_config:skene?"),
    ),
    "no such module by the variable": Bad(
        ("usage", "ada"), ("SKENE_CONFIG: there is no module nowhere",), env={"SKENE_CONFIG": "nowhere:skene"}
    ),
    "no such name": Bad(
        ("usage", "ada", "--config", "skene_config:sken"), ("no 'sken'", "did you mean skene_config:skene?")
    ),
    "a path for a module": Bad(
        ("usage", "ada", "--config", "./skene_config.py:skene"),
        ("--config", "did you mean skene_config:skene?"),
    ),
    "a file without a name": Bad(
        ("usage", "ada", "--config", "skene_config.py"), ("no module skene_config.py in",), config=None
    ),
    "an empty name": Bad(("usage", "ada", "--config", "skene_config:"), ("give module:name",)),
    "nonsense": Bad(("usage", "ada", "--config", "a b:c"), ("got 'a b:c'; give module:name",)),
    "not a Skene": Bad(
        ("usage", "ada", "--config", "skene_config:freemium"), ("is a Loop; it must be a Skene",)
    ),
    "the class": Bad(("usage", "ada", "--config", "skene_config:Skene"), ("is the class Skene",)),
    "a function": Bad(
        ("usage", "ada", "--config", "skene_config:make"),
        ("is a function; it must be a Skene(…); call it",),
        config="def make():\n    return None\n",
    ),
    "None": Bad(("usage", "ada"), ("skene_config:skene is None",), config="skene = None\n"),
    # loading the configuration
    "it raises": Bad(
        ("usage", "ada"),
        ("skene_config.py:2: ZeroDivisionError: division by zero", "    skene = 1 / 0"),
        config="x = 1\nskene = 1 / 0\n",
    ),
    "it raises deeper down": Bad(
        ("usage", "ada"),
        ("settings.py:2: RuntimeError: no settings here",),
        config="from settings import load\nload()\n",
        files={"settings.py": "def load():\n    raise RuntimeError('no settings here')\n"},
    ),
    "a missing variable": Bad(
        ("usage", "ada"),
        ("skene_config.py:2: the environment variable MY_STRIPE_KEY is not set",),
        config="import os\nkey = os.environ['MY_STRIPE_KEY']\n",
    ),
    "it does not parse": Bad(
        ("usage", "ada"), ("skene_config.py:2: SyntaxError:", "    skene = (("), config="x = 1\nskene = ((\n"
    ),
    "a missing library": Bad(
        ("usage", "ada"),
        ("skene_config.py:1: No module named 'no_such_library'; is it installed here?",),
        config="import no_such_library\n",
    ),
    "it exits": Bad(
        ("usage", "ada"),
        ("skene_config.py:2: skene_config ends the program",),
        config="import sys\nsys.exit(3)\n",
    ),
    "a bad definition": Bad(
        ("funnel",),
        ("skene_config.py:", "the loop has 1 fault", 'steps[0].condition.limit.free: got "2" (str)'),
        config=LOOP.replace('"free": 2', '"free": "2"'),
    ),
    "a secret in the message": Bad(
        ("usage", "ada"),
        ("RuntimeError: bad key …",),
        config="raise RuntimeError('bad key sk_live_abcdefghijklmnop')\n",
    ),
    "half a pair of settings": Bad(
        ("usage", "ada"),
        ("STRIPE_WEBHOOK_SECRET: got nothing",),
        config=LOOP
        + "skene = Skene.from_env(freemium, env={'STRIPE_API_KEY': 'sk_test_abcdefghijklmnop'})\n",
    ),
    # storage
    "the database is away": Bad(
        ("usage", "ada"),
        ("PostgreSQL cannot answer",),
        config=POSTGRES,
    ),
    "the database is away for db": Bad(
        ("db", "upgrade", "--database", UNREACHABLE), ("PostgreSQL cannot answer",)
    ),
    "the database is away for the demo": Bad(
        ("demo", "--database", UNREACHABLE), ("PostgreSQL cannot answer",)
    ),
    "another kind of database": Bad(
        ("db", "upgrade", "--database", "mysql://root:secret@localhost/app"),
        ("--database: ", "'mysql'", "postgresql://… or sqlite:///file.db"),
    ),
    "a bad address": Bad(
        ("db", "current", "--database", "postgresql://localhost:port/app"),
        ("--database: ", "a port that is no number"),
    ),
    "a bad address for the demo": Bad(
        ("demo", "--database", "redis://localhost"), ("--database: ", "'redis'")
    ),
    "a folder that is not there": Bad(
        ("db", "upgrade", "--database", "sqlite:///no/where.db"), ("no/where.db",)
    ),
    "a file that is no database": Bad(
        ("usage", "ada"), ("app.db: file is not a database",), files={"app.db": "not a database" * 100}
    ),
    "an outdated schema": Bad(
        ("usage", "ada"),
        ("has no tables of skene; run `skene db upgrade`",),
        config=CONFIG.replace('"app.db"', '"app.db", migrate=False'),
    ),
    "a storage without tables": Bad(
        ("db", "upgrade"),
        ("no tables that could be migrated",),
        config=MEMORY,
    ),
    # values
    "an empty subject": Bad(("usage", ""), ("a subject is a non-empty string",)),
    "an empty subject for forget": Bad(("forget", "", "--yes"), ("subject",)),
    "an empty subject for merge": Bad(("merge", "", "ada", "--yes"), ("subject",)),
    "one subject to merge": Bad(("merge", "ada", "ada", "--yes"), ("got 'ada' twice; give two subjects",)),
    "an empty subject for plan": Bad(("plan", "set", "", "paid"), ("subject",)),
    "a bad duration": Bad(
        ("funnel", "--since", "30 days"), ("--since: got '30 days'", "such as 30d", "did you mean")
    ),
    "a bare number": Bad(("funnel", "--since", "30"), ("--since: got '30'", 'did you mean "30d"?')),
    "a bad instant": Bad(("funnel", "--until", "2026-13-01"), ("--until: got '2026-13-01'",)),
    "a negative duration": Bad(
        (
            "funnel",
            "--since=-30d",
        ),
        ("--since: got '-30d'",),
    ),
    "since in the future": Bad(
        ("funnel", "--since", "2999-01-01"), ("--since 2999-01-01 is not before now",)
    ),
    "since after until": Bad(
        ("funnel", "--since", "1d", "--until", "2d"), ("--since 1d is not before --until 2d",)
    ),
    "an unknown loop": Bad(
        ("funnel", "--loop", "fremium"), ("no loop is called 'fremium'", "did you mean freemium?")
    ),
    "an unknown plan": Bad(("plan", "set", "ada", "gold"), ("'gold'", "free, paid")),
    "an end that has passed": Bad(
        ("plan", "set", "ada", "paid", "--until", "2020-01-01"), ("--until", "which has passed")
    ),
    "a bad end": Bad(("plan", "set", "ada", "paid", "--until", "soon"), ("--until: got 'soon'",)),
    # the outbox, the log, who is not written to
    "an unknown state": Bad(
        ("outbox", "list", "--state", "deed"),
        ("--state: got 'deed'; give one of pending, claimed, sent,", "did you mean dead?"),
    ),
    "an unknown loop of messages": Bad(
        ("outbox", "list", "--loop", "fremium"), ("no loop is called 'fremium'", "did you mean freemium?")
    ),
    "an empty subject of messages": Bad(("outbox", "list", "--subject", ""), ("subject",)),
    "no messages at all": Bad(("outbox", "list", "--limit", "0"), ("Invalid value for '--limit'", "1"), 2),
    "no such message": Bad(("outbox", "show", "7"), ("there is no message 7",)),
    "a message that is no number": Bad(("outbox", "show", "ada"), ("a valid integer",), 2),
    "a message beyond all numbers": Bad(
        ("outbox", "show", str(2**70)), ("Invalid value for 'ID'", str(2**63 - 1)), 2
    ),
    "nothing to retry": Bad(("outbox", "retry"), ("give numbers of messages, or --state dead or parked",), 2),
    "two ways to retry": Bad(("outbox", "retry", "1", "--state", "dead"), ("not both",), 2),
    "a state that is not retried as a whole": Bad(
        ("outbox", "retry", "--state", "cancelled", "--yes"),
        ("--state: got 'cancelled'; give one of dead, parked",),
    ),
    "nothing to discard": Bad(("outbox", "discard"), ("Missing argument 'ID...'",), 2),
    "no reason": Bad(("outbox", "discard", "1", "--reason", " "), ("--reason: give one line",)),
    "two lines of reason": Bad(("outbox", "discard", "1", "--reason", "a\nb"), ("--reason: give one line",)),
    "an unknown outcome": Bad(
        ("log", "--outcome", "act"),
        ("--outcome: got 'act'; give one of acted, refused,", "did you mean acted?"),
    ),
    "an unknown loop of the log": Bad(("log", "--loop", "free"), ("no loop is called 'free'",)),
    "a bad instant of the log": Bad(("log", "--since", "yesterday"), ("--since: got 'yesterday'",)),
    "a log that lies ahead": Bad(("log", "--since", "2999-01-01"), ("--since 2999-01-01 is not before now",)),
    "the database is away for the log": Bad(("log",), ("PostgreSQL cannot answer",), config=POSTGRES),
    "no address": Bad(("suppressions", "--address", "ada"), ("--address: got 'ada'", "ada@acme.test")),
    "half an address": Bad(
        ("suppressions", "remove", "--address", "@acme.test"), ("give an e-mail address",)
    ),
    "no address to remove": Bad(("suppressions", "remove"), ("Missing option '--address'",), 2),
    "an address nobody knows": Bad(
        ("suppressions", "remove", "--address", "ada@acme.test"), ("nothing is known of this address",)
    ),
    "an empty subject to unsubscribe": Bad(("unsubscribe", ""), ("subject",)),
    "no customers": Bad(("link", "ada", "cus_1"), ("plans are set by hand here",)),
    # check --database, --app
    "the database is away for check": Bad(
        ("check", "--database"),
        ("PostgreSQL cannot answer",),
        config=POSTGRES,
    ),
    "no such app": Bad(
        ("check", "--app", "ap:app"), ("--app: there is no module ap",), files={"app.py": APP}
    ),
    "no app in it": Bad(
        ("check", "--app", "app:api"), ("app has no 'api'", "did you mean app:app?"), files={"app.py": APP}
    ),
    "not an app": Bad(("check", "--app", "app:gate"), ("app:gate is a Gate",), files={"app.py": APP}),
    "an app without a gate": Bad(
        ("check", "--app", "app"),
        ("app:app has no gate; call gate.install(app)",),
        files={"app.py": "from fastapi import FastAPI\napp = FastAPI()\n"},
    ),
    "a pattern without a route": Bad(
        ("check", "--app", "app"),
        ("freemium.steps[0].trigger.endpoint", "covers no route"),
        files={"app.py": APP.replace("/api/features/", "/api/other/")},
    ),
    "another Skene in the app": Bad(
        ("check", "--app", "app"),
        ("uses another Skene than skene_config:skene",),
        files={"app.py": APP.replace("skene_config", "other_config"), "other_config.py": CONFIG},
    ),
    # worker
    "a worker that cannot start": Bad(
        ("worker", "--once"),
        ("skene cannot start: 1 fault", "resend"),
        config=CONFIG.replace('{"resend"', '{"other"'),
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_input(bad: Bad, empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bad.env.items():
        monkeypatch.setenv(name, value)
    for name, text in bad.files.items():
        empty.write(name, text)
    if bad.config is not None:
        empty.write("skene_config.py", bad.config)
    result = empty.run(*bad.args)
    for fragment in bad.says:
        assert fragment in result.stderr
    assert result.exit_code == bad.code
    assert "Traceback" not in result.output
    assert "secret" not in result.output
    assert "sk_live_" not in result.output
    if bad.code == 1:
        assert result.stderr.startswith("error: ")
    if bad.args[0] != "check":
        assert not result.stdout


def test_a_port_that_is_taken(empty: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = empty.run("demo", "--port", str(port))
    assert result.exit_code == 1
    assert f"port {port} cannot be used" in result.stderr


def test_debug_shows_the_traceback(empty: Project) -> None:
    empty.write("skene_config.py", "skene = 1 / 0\n")
    result = empty.run("usage", "ada", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError" in result.stderr


def test_an_error_of_nobody_s_making_is_a_line_as_well(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("something odd\nand more of it")

    monkeypatch.setattr("skene.cli.reports.with_storage", fail)
    result = project.run("usage", "ada")
    assert result.exit_code == 1
    assert result.stderr == "error: LookupError: something odd (--debug shows the traceback)\n"


def test_ctrl_c_is_130(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("skene.cli.reports.with_storage", interrupt)
    assert project.run("usage", "ada").exit_code == 130


def test_problems_are_json_where_json_is_asked_for(empty: Project) -> None:
    result = empty.run("check", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["ok"] is False
    assert "there is no skene_config.py" in found["problems"][0]["message"]


def test_as_a_program_it_is_the_same(empty: Project) -> None:
    ended = empty.program("funnel", "--since", "yesterday")
    assert ended.code == 1
    assert ended.err.startswith("error: there is no skene_config.py")
    assert not ended.out
    assert empty.program("nonsense").code == 2
