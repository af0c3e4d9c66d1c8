"""Bad input for the commands that explain, try and compare: a clear line, the right code, no traceback."""

import json

import pytest

from tests.cli.project import APP, CONFIG, Project
from tests.cli.test_bad_input import POSTGRES, Bad
from tests.definitions.seeds import SEED, seed_with

SEEDED = SEED.read_text(encoding="utf-8")
CALL = ("explain", "ada", "POST", "/api/features/x")
TRY = ("simulate", "--set", "freemium.limit.free=1")
TWO = {"old.json": SEEDED, "new.json": SEEDED}


def tried(text: str) -> tuple[str, ...]:
    return ("simulate", "--set", text)


BAD = {
    # explain
    "nobody": Bad(("explain",), ("Missing argument 'SUBJECT'",), 2),
    "no call": Bad(("explain", "ada"), ("give METHOD and PATH of a call, or --meter",), 2),
    "half a call": Bad(("explain", "ada", "POST"), ("give METHOD and PATH of a call, or --meter",), 2),
    "a call and a meter": Bad((*CALL, "--meter", "calls"), ("or --meter",), 2),
    "an empty subject": Bad(("explain", "", "POST", "/x"), ("a subject is a non-empty string",)),
    "an empty member": Bad(
        (*CALL, "--member", ""),
        ("a subject is a non-empty string",),
        1,
        CONFIG.replace('meter="calls"', 'meter="calls", member_limit={"free": 1}'),
    ),
    "no method": Bad(("explain", "ada", "FETCH", "/x"), ("METHOD: got 'FETCH'; give one of DELETE, GET",)),
    "nearly a method": Bad(("explain", "ada", "PSOT", "/x"), ("METHOD: got 'PSOT'", "did you mean POST?")),
    "no path": Bad(("explain", "ada", "GET", ""), ("PATH: got ''; give the path of one call",)),
    "a path without a slash": Bad(("explain", "ada", "GET", "api/x"), ("did you mean /api/x?",)),
    "an address": Bad(("explain", "ada", "GET", "https://acme.test/api/x?y=1"), ("did you mean /api/x?",)),
    "a broken address": Bad(("explain", "ada", "GET", "http://[acme/x"), ("PATH: got 'http://[acme/x'",)),
    "a query": Bad(
        ("explain", "ada", "GET", "/api/x?y=1"), ("PATH: got '/api/x?y=1'", "did you mean /api/x?")
    ),
    "a pattern": Bad(("explain", "ada", "GET", "/api/*"), ("PATH: got '/api/*'; give the path of one call",)),
    "no such meter": Bad(
        ("explain", "ada", "--meter", "cals"), ("no meter is called 'cals'", "did you mean calls?")
    ),
    "no units": Bad((*CALL, "--units", "0"), ("Invalid value for '--units'", "1"), 2),
    "units that are no number": Bad((*CALL, "--units", "many"), ("--units", "valid int"), 2),
    "too many units": Bad((*CALL, "--units", str(2**63)), ("Invalid value for '--units'", str(2**63 - 1)), 2),
    "no app": Bad((*CALL, "--app", "ap:app"), ("--app: there is no module ap",), files={"app.py": APP}),
    "no gate": Bad(
        (*CALL, "--app", "app"),
        ("app:app has no gate",),
        files={"app.py": "from fastapi import FastAPI\napp = FastAPI()\n"},
    ),
    "another Skene": Bad(
        (*CALL, "--app", "app"),
        ("the gate of app:app uses another Skene",),
        files={"app.py": APP.replace("skene_config", "other_config"), "other_config.py": CONFIG},
    ),
    "a pattern without a route": Bad(
        (*CALL, "--app", "app"),
        ("covers no route",),
        files={"app.py": APP.replace("/api/features/", "/api/other/")},
    ),
    "the database is away": Bad(
        CALL, ("PostgreSQL cannot answer", "help: storage_unavailable"), config=POSTGRES
    ),
    "no configuration": Bad(CALL, ("there is no skene_config.py",), config=None),
    # simulate
    "nothing to try": Bad(("simulate",), ("Missing option '--set'",), 2),
    "an empty try": Bad(tried(""), ("--set: got ''; give STEP.limit.PLAN=UNITS",)),
    "no value": Bad(tried("freemium.limit.free"), ("--set: got 'freemium.limit.free'; give STEP.limit",)),
    "no plan to try": Bad(tried("freemium.limit=5"), ("--set: got 'freemium.limit=5'; give STEP.limit",)),
    "no such step": Bad(tried("fremium.limit.free=5"), ("there are: freemium", "did you mean freemium?")),
    "no such plan": Bad(tried("freemium.limit.fre=5"), ("there are: free, paid", "did you mean free?")),
    "another period": Bad(tried("freemium.period=7d"), ("another period cannot be tried: history keeps",)),
    "no limit": Bad(tried("freemium.limit.free=some"), ("freemium.limit.free", "give a whole number")),
    "an empty limit": Bad(tried("freemium.limit.free="), ("freemium.limit.free", "give a whole number")),
    "a negative limit": Bad(tried("freemium.limit.free=-1"), ("got -1 (int)",)),
    "a limit beyond all numbers": Bad(tried(f"freemium.limit.free={10**30}"), ("give a whole number ≤",)),
    "a limit that Python does not read": Bad(
        tried(f"freemium.limit.free={'9' * 5000}"), ("freemium.limit.free",)
    ),
    "twice the same": Bad((*TRY, "--set", "freemium.limit.free=2"), ("is given twice",)),
    "a bad instant": Bad((*TRY, "--since", "a while"), ("--since: got 'a while'",)),
    "the future": Bad((*TRY, "--since", "2999-01-01"), ("--since 2999-01-01 is not before now",)),
    "the database is away for history": Bad(TRY, ("PostgreSQL cannot answer",), config=POSTGRES),
    # diff
    "one side": Bad(("diff", "old.json"), ("Missing argument 'NEW'",), 2, files=TWO),
    "no such file": Bad(("diff", "old.json", "none.json"), ("NEW, none.json,", "No such file"), 2, files=TWO),
    "nothing": Bad(("diff", "", "old.json"), ("OLD: got ''; give a .json file",), 2, files=TWO),
    "no JSON": Bad(
        ("diff", "old.json", "new.json"),
        ("NEW, new.json,", "does not parse"),
        2,
        files={**TWO, "new.json": "{"},
    ),
    "a loop with faults": Bad(
        ("diff", "old.json", "new.json"),
        ("recovery.retries: got 500",),
        2,
        files={**TWO, "new.json": json.dumps(seed_with("recovery.retries", 500))},
    ),
    "no module": Bad(
        ("diff", "old.json", "nowhere:skene"), ("NEW: there is no module nowhere",), 2, files=TWO
    ),
    "no name": Bad(
        ("diff", "old.json", "skene_config:sken"), ("did you mean skene_config:skene?",), 2, files=TWO
    ),
    "neither Skene nor loop": Bad(
        ("diff", "skene_config:load_profile", "old.json"),
        ("skene_config:load_profile is a function; give a .json file",),
        2,
        files=TWO,
    ),
    "no repository": Bad(
        ("diff", "main:old.json", "old.json"), ("OLD: there is no file old.json, and git",), 2, files=TWO
    ),
    "no revision": Bad(("diff", ":old.json", "old.json"), ("OLD: got '' for a revision",), 2, files=TWO),
    "an option for a revision": Bad(
        ("diff", "--", "--output=x:old.json", "old.json"),
        ("OLD: got '--output=x' for a revision",),
        2,
        files=TWO,
    ),
    # schema
    "a schema of something": Bad(("schema", "loop"), ("unexpected extra argument",), 2),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_question(bad: Bad, empty: Project) -> None:
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
    assert "unexpected_error" not in result.output
    assert "--debug shows the traceback" not in result.output
    assert not result.stdout
