"""What each command does when all is well."""

import json
import subprocess
import sys

import anyio
import pytest

from skene.adapters.sql.migrate import KNOWN
from skene.adapters.system import SystemClock
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from tests.cli.project import APP, CONFIG, LOOP, Project

STRIPE_CONFIG = (
    LOOP
    + """
import os
from skene.adapters.stripe import StripeBilling

skene = Skene(
    freemium,
    storage=SqliteStorage("app.db"),
    billing=StripeBilling(
        api_key=os.environ["STRIPE_API_KEY"],
        webhook_secret="whsec_local0stripe0signing0secret",
        plans={"price_123": "paid"},
        base_url=os.environ["STRIPE_URL"],
    ),
    notifiers={"resend": FileNotifier("outbox")},
)
"""
)


BROKEN = (
    LOOP.replace('"paid": UNLIMITED', '"pro": 9')
    + """
from skene.adapters.manual import ManualBilling

skene = Skene(
    freemium,
    storage=SqliteStorage("app.db"),
    billing=ManualBilling(["paid"]),
    notifiers={"resent": FileNotifier("outbox")},
    public_url="nowhere",
)
"""
)


def test_without_a_command_there_is_help(empty: Project) -> None:
    for args in ((), ("db",), ("mail",), ("outbox",), ("plan",)):
        result = empty.run(*args)
        assert result.exit_code == 0
        assert "Usage:" in result.stdout
        assert "Commands:" in result.stdout


def test_the_version_is_the_package_s(empty: Project) -> None:
    from importlib.metadata import version

    assert empty.run("--version").stdout == f"skene {version('skene-sdk')}\n"


def test_help_loads_no_back_end() -> None:
    code = """
import sys
from skene.cli import main
sys.argv = ["skene", "--help"]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
heavy = {"stripe", "resend", "sqlalchemy", "alembic", "fastapi", "uvicorn", "rich"} & set(sys.modules)
assert not heavy, heavy
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "demo" in ended.stdout


# --- db -------------------------------------------------------------------------------------------


def test_db_upgrade_makes_the_tables_once(project: Project) -> None:
    assert project.run("db", "current").exit_code == 1
    assert not (project.folder / "app.db").exists()
    first = project.run("db", "upgrade")
    assert first.exit_code == 0
    assert f"applied {', '.join(KNOWN)}" in first.stdout
    assert "nothing to do" in project.run("db", "upgrade").stdout
    current = project.run("db", "current")
    assert current.exit_code == 0
    assert f"at version {KNOWN[-1]}" in current.stdout


def test_db_upgrade_needs_no_configuration_with_an_address(empty: Project) -> None:
    result = empty.run("db", "upgrade", "--database", "sqlite:///other.db", "--json")
    assert json.loads(result.stdout) == {
        "storage": "SqliteStorage('other.db')",
        "applied": list(KNOWN),
        "version": KNOWN[-1],
    }
    result = empty.run("db", "current", "--database", "sqlite:///other.db", "--json")
    assert json.loads(result.stdout)["ready"] is True


def test_db_on_postgres(empty: Project, postgres_dsn: str) -> None:
    missing = empty.run("db", "current", "--database", postgres_dsn, "--json")
    assert missing.exit_code == 1
    assert json.loads(missing.stdout)["version"] is None
    upgraded = empty.run("db", "upgrade", "--database", postgres_dsn)
    assert f"applied {', '.join(KNOWN)}" in upgraded.stdout
    assert "nothing to do" in empty.run("db", "upgrade", "--database", postgres_dsn).stdout
    assert empty.run("db", "current", "--database", postgres_dsn).exit_code == 0


# --- check ----------------------------------------------------------------------------------------


def test_check_says_in_words_what_a_loop_does(project: Project) -> None:
    result = project.run("check")
    assert result.exit_code == 0
    assert "loop freemium: Stop the free ones" in result.stdout
    assert "POST /api/features/* is called" in result.stdout
    assert "1 unit for every call that succeeds, on the meter calls" in result.stdout
    assert "free: 2, paid: unlimited; per 30d from the first use" in result.stdout
    assert '402 "Enough."; e-mail upgrade_prompt through resend, once per window' in result.stdout
    assert "ok: 1 loop, 1 step" in result.stdout


def test_a_bill_in_words(project: Project) -> None:
    paid = 'billed(included=1000, meter="api_calls", cap=5000)'
    project.write("skene_config.py", CONFIG.replace("UNLIMITED", paid).replace(paid, "billed", 1))
    assert "free: 2, paid: 1,000 included, cap 5,000; per 30d" in project.run("check").stdout
    (step,) = json.loads(project.run("check", "--json").stdout)["loops"][0]["steps"]
    assert step["billed"] == {"paid": {"included": 1000, "meter": "api_calls", "cap": 5000}}
    assert project.run("db", "upgrade").exit_code == 0
    assert project.run("plan", "set", "ada", "paid").exit_code == 0
    project.use("ada", 3)
    shown = project.run("usage", "ada", "--json")
    (one,) = json.loads(shown.stdout)["usage"]
    assert (one["limit"], one["used"], one["included"], one["billed_units"]) == (5000, 3, 1000, 0)
    assert "1,000 included" in " ".join(project.run("usage", "ada").stdout.split())


def test_a_lease_in_words(project: Project) -> None:
    project.write("skene_config.py", CONFIG.replace('meter="calls"', 'meter="calls", lease=1000'))
    assert "on the meter calls; a process takes up to 1,000 at a time" in " ".join(
        project.run("check").stdout.split()
    )
    (step,) = json.loads(project.run("check", "--json").stdout)["loops"][0]["steps"]
    assert step["lease"] == 1000


def test_check_lists_the_gated_routes_of_an_app(project: Project) -> None:
    project.write("app.py", APP)
    result = project.run("check", "--app", "app:app")
    assert result.exit_code == 0, result.output
    assert "covers    POST /api/features/summarise" in result.stdout
    assert "POST /translate" in result.stdout
    assert "/free" not in result.stdout
    assert "2 gated routes" in result.stdout
    found = json.loads(project.run("check", "--app", "app", "--json").stdout)
    assert found["ok"] is True
    (step,) = found["loops"][0]["steps"]
    assert step["routes"] == [
        {"method": "POST", "path": "/api/features/summarise"},
        {"method": "POST", "path": "/translate"},
    ]
    assert step["limits"] == {"free": 2, "paid": "Infinity"}


def test_check_reports_every_problem_at_once(project: Project) -> None:
    project.write("skene_config.py", BROKEN)
    result = project.run("check")
    assert result.exit_code == 1
    problems = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(problems) == 3, result.stderr
    assert "no limit for the plan 'paid'" in result.stderr
    assert "'resend', which is not among the notifiers" in result.stderr
    assert 'got "nowhere" (str)' in result.stderr
    found = json.loads(project.run("check", "--json").stdout)
    assert found["ok"] is False
    assert [problem["path"] for problem in found["problems"]] == [
        "freemium.steps[0].condition.limit",
        "Skene(public_url=…)",
        "freemium.steps[0].action.upgrade_prompt.provider",
    ]


def test_check_reports_every_fault_of_a_definition_as_json(project: Project) -> None:
    project.write("skene_config.py", LOOP.replace('"free": 2', '"free": -1').replace('"30d"', '"P1M"'))
    found = json.loads(project.run("check", "--json").stdout)
    assert [problem["path"] for problem in found["problems"]] == [
        "steps[0].condition.limit.free",
        "steps[0].condition.period",
    ]


def test_check_says_whose_midnight_opens_a_calendar_window(project: Project) -> None:
    config = (project.folder / "skene_config.py").read_text()
    calendar = 'calendar("month", timezone="Europe/Helsinki")'
    project.write("skene_config.py", "from skene import calendar\n" + config.replace('"30d"', calendar))
    assert "unlimited; per calendar month (Europe/Helsinki)" in project.run("check").stdout


def test_check_says_in_which_line_a_faulty_definition_is_made(project: Project) -> None:
    config = LOOP.replace('"30d"', '"P1M"').lstrip()
    project.write("skene_config.py", config)
    line = 1 + config[: config.index("freemium = define_loop(")].count("\n")
    (problem,) = project.run("check").stderr.splitlines()
    assert problem.startswith(f"error: skene_config.py:{line}: steps[0].condition.period: got ")
    (found,) = json.loads(project.run("check", "--json").stdout)["problems"]
    assert (found["where"], found["path"]) == (f"skene_config.py:{line}", "steps[0].condition.period")


@pytest.mark.parametrize(
    ("content", "says"), [("{", "line 1, column 2: got JSON that"), (None, "got a path that cannot be read")]
)
def test_check_says_which_file_a_loop_could_not_be_loaded_from(
    project: Project, content: str | None, says: str
) -> None:
    project.write("skene_config.py", "from skene import load_loop\nload_loop('loops/one.json')\n")
    if content is not None:
        project.write("loops/one.json", content)
    (problem,) = project.run("check").stderr.splitlines()
    assert problem.startswith(f"error: skene_config.py:2: loops/one.json: {says}")


def test_the_configuration_can_be_elsewhere(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (project.folder / "skene_config.py").read_text()
    (project.folder / "skene_config.py").unlink()
    project.write("inner/__init__.py", "")
    project.write("inner/growth.py", text.replace("skene = Skene(", "loops = Skene("))
    assert project.run("check", "--config", "inner.growth:loops").exit_code == 0
    monkeypatch.setenv("SKENE_CONFIG", "inner.growth:loops")
    assert project.run("check").exit_code == 0


def test_what_a_configuration_prints_does_not_spoil_json(project: Project) -> None:
    config = project.folder / "skene_config.py"
    config.write_text("print('hello')\n" + config.read_text())
    result = project.run("usage", "ada", "--json")
    assert json.loads(result.stdout)["subject"] == "ada"
    assert "hello" in result.stderr


# --- usage, funnel --------------------------------------------------------------------------------


def test_usage_shows_how_a_subject_stands(project: Project) -> None:
    project.use("ada", 1)
    result = project.run("usage", "ada")
    assert result.exit_code == 0
    row = result.stdout.splitlines()[-2].split()
    assert row[:7] == ["freemium", "calls", "free", "2", "1", "1", "30d"]
    (one,) = json.loads(project.run("usage", "ada", "--json").stdout)["usage"]
    assert (one["plan"], one["limit"], one["used"], one["remaining"]) == ("free", 2, 1, 1)
    assert one["allowed"] is True
    assert project.run("usage", "nobody").stdout.count("not open yet") == 1


def test_usage_shows_what_was_granted(project: Project) -> None:
    project.grant("ada", 5)
    project.use("ada", 4)
    result = project.run("usage", "ada")
    assert result.exit_code == 0
    counts = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert counts[2][:6] == ["freemium", "calls", "free", "7", "4", "3"]
    assert counts[-1][3:6] == ["calls", "5", "2"]
    assert "invited a friend" in result.stdout
    (one,) = json.loads(project.run("usage", "ada", "--json").stdout)["grants"]
    assert (one["key"], one["meter"], one["units"], one["spent"]) == ("invite:bob", "calls", 5, 2)
    assert (one["reason"], one["loop"]) == ("invited a friend", None)
    assert one["expires_at"] > one["granted_at"]
    assert json.loads(project.run("usage", "bob", "--json").stdout)["grants"] == []


def test_funnel_counts_what_happened(project: Project) -> None:
    assert "nobody has met a limit" in project.run("funnel").stdout
    project.use("ada", 3)
    project.use("bob", 4)
    project.use("eve", 1)
    row = project.run("funnel", "--since", "1h", "--loop", "freemium").stdout.splitlines()[-2].split()
    assert row[:6] == ["freemium", "2", "0", "0", "0", "0"]
    assert "2 messages dealt with" in project.run("worker", "--once").stdout
    project.run("plan", "set", "ada", "paid")
    found = json.loads(project.run("funnel", "--since", "2020-01-01", "--json").stdout)
    (loop,) = found["loops"]
    assert (loop["walls"], loop["prompts"], loop["conversions"]) == (2, 2, 1)
    assert loop["median_seconds_to_pay"] >= 0
    assert found["since"] == "2020-01-01T00:00:00+00:00"
    assert json.loads(project.run("funnel", "--until", "2020-01-01", "--json").stdout)["loops"] == []


# --- plan, link, forget ---------------------------------------------------------------------------


def test_a_plan_set_by_hand_holds_until_it_ends(project: Project) -> None:
    result = project.run("plan", "set", "ada", "paid", "--until", "30d")
    assert result.exit_code == 0
    assert result.stdout.startswith("ada: free → paid, until 20")
    assert "recorded as a conversion" in result.stdout
    project.use("ada", 5)
    (one,) = json.loads(project.run("usage", "ada", "--json").stdout)["usage"]
    assert (one["plan"], one["limit"], one["used"]) == ("paid", None, 5)


def test_link_takes_over_what_the_customer_pays_for(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.write("skene_config.py", STRIPE_CONFIG)
    stripe = FakeStripe(now=SystemClock().now, prices=["price_123"])
    with serving(stripe.app) as url:
        monkeypatch.setenv("STRIPE_URL", url)
        monkeypatch.setenv("STRIPE_API_KEY", stripe.api_key)
        anyio.run(stripe.subscribe, "somebody", "price_123")
        customer = stripe.customer("somebody")
        assert customer is not None
        result = empty.run("link", "ada", customer)
        assert result.stdout == f"ada is customer {customer}, on the plan paid\n", result.output
        unknown = empty.run("link", "bob", "cus_unknown")
        assert unknown.exit_code == 1
        assert "no customer 'cus_unknown'; nothing was tied" in unknown.stderr
        stripe.down = True
        away = empty.run("link", "bob", customer)
        assert away.exit_code == 1
        assert away.stderr.startswith("error: ")
        assert "Traceback" not in away.stderr


def test_forget_asks_first(project: Project) -> None:
    project.use("ada", 1)
    refused = project.run("forget", "ada", stdin="n\n")
    assert refused.exit_code == 1
    assert json.loads(project.run("usage", "ada", "--json").stdout)["usage"][0]["used"] == 1
    assert project.run("forget", "ada", stdin="").exit_code == 1
    assert "1 row erased" in project.run("forget", "ada", stdin="y\n").stdout
    assert json.loads(project.run("usage", "ada", "--json").stdout)["usage"][0]["used"] == 0
    assert "0 rows" in project.run("forget", "ada", "--yes").stdout


def test_merge_asks_first(project: Project) -> None:
    project.use("visitor", 2)
    assert project.run("merge", "visitor", "ada", stdin="n\n").exit_code == 1
    assert json.loads(project.run("usage", "ada", "--json").stdout)["usage"][0]["used"] == 0
    merged = project.run("merge", "visitor", "ada", stdin="y\n")
    assert "visitor counts as ada: 1 row moved" in merged.stdout
    assert json.loads(project.run("usage", "ada", "--json").stdout)["usage"][0]["used"] == 2
    assert project.run("merge", "visitor", "ada", "--yes").stdout == "visitor counts as ada: 0 rows moved\n"
    backwards = project.run("merge", "ada", "visitor", "--yes")
    assert backwards.exit_code == 1
    assert "'ada' cannot be merged into 'visitor', which counts as it" in backwards.stderr
