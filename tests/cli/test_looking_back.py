"""`skene log`, `skene funnel` with goals, and who is not written to."""

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import anyio
import pytest
from rich.console import Console

from skene.adapters.sqlite import SqliteStorage
from skene.cli.conversions import COLUMNS
from skene.cli.funnels import SHEET, lifts_in_words, sheet_rows
from skene.cli.reports import funnel_table
from skene.cli.sheets import write_sheet
from skene.ports.contacts import Suppressed
from skene.ports.ledger import FunnelRow
from skene.runtime.mailing import address_digest
from tests.cli.project import REACTING, Project


@pytest.fixture
def acting(empty: Project) -> Project:
    """Three who came to a loop, after it has acted."""
    empty.write("skene_config.py", REACTING)
    emit("signed.up", *SUBJECTS)
    assert "dealt with" in empty.run("worker", "--once").stdout
    return empty


SUBJECTS = tuple(f"person{number}" for number in range(12))


def emit(event: str, *subjects: str) -> None:
    async def run() -> None:
        names: dict[str, Any] = {}
        exec(REACTING, names)  # noqa: S102 - the configuration, without importing it as a module
        async with names["skene"] as skene:
            for subject in subjects:
                await skene.emit(event, subject)

    anyio.run(run)


def suppress(kind: Suppressed, address: str) -> None:
    async def run() -> None:
        storage = SqliteStorage("app.db")
        await storage.start()
        await storage.suppress(kind, address=address_digest(address), source="resend")
        await storage.aclose()

    anyio.run(run)


def decisions(project: Project, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(project.run("log", *args, "--json").stdout)["decisions"]
    return found


# --- log ------------------------------------------------------------------------------------------


def test_the_log_says_how_firings_were_decided(acting: Project) -> None:
    rows = decisions(acting, "--loop", "activation")
    assert {row["subject"] for row in rows} == set(SUBJECTS)
    assert {row["outcome"] for row in rows} == {"acted", "held_out"}
    (one,) = decisions(acting, "--subject", "person3", "--since", "1h")
    assert (one["loop"], one["step"], one["phase"]) == ("activation", "activation.welcome", "action")
    line = acting.run("log", "--subject", "person3").stdout.splitlines()[-2].split()
    assert line[3:7] == ["activation", "activation.welcome", "person3", "action"]


def test_the_log_can_be_narrowed(acting: Project) -> None:
    left_alone = decisions(acting, "--outcome", "held-out")
    assert left_alone
    assert {row["outcome"] for row in left_alone} == {"held_out"}
    assert len(decisions(acting, "--limit", "5")) == 5
    assert "these are the latest 5; --limit shows more" in acting.run("log", "--limit", "5").stdout
    assert acting.run("log", "--outcome", "failed").stdout == "nothing was decided\n"


def test_walls_are_in_the_log(project: Project) -> None:
    project.use("ada", 3)
    (one,) = decisions(project)
    assert (one["phase"], one["outcome"], one["subject"]) == ("gate", "refused", "ada")


# --- funnel ---------------------------------------------------------------------------------------


def drawn(*rows: FunnelRow, with_goal: tuple[str, ...] | None = None) -> list[list[str]]:
    drawing = StringIO()
    console = Console(width=250, file=drawing)
    console.print(funnel_table(rows, with_goal=with_goal))
    lines = [line for line in drawing.getvalue().splitlines() if line.strip() and "──" not in line]
    return [[cell for cell in line.split("  ") if cell.strip()] for line in lines]


def test_goals_stand_beside_the_group_that_was_left_alone(acting: Project) -> None:
    held_out = [row["subject"] for row in decisions(acting, "--outcome", "held_out")]
    acted = [subject for subject in SUBJECTS if subject not in held_out]
    assert held_out
    emit("project.created", *acted[:3], held_out[0])
    (loop,) = json.loads(acting.run("funnel", "--json").stdout)["loops"]
    assert (loop["loop"], loop["walls"], loop["prompts"]) == ("activation", 0, len(acted))
    assert (loop["journeys"], loop["goals"]) == (len(acted), 3)
    assert (loop["held_out_journeys"], loop["held_out_goals"]) == (len(held_out), 1)
    assert loop["median_seconds_to_goal"] >= 0
    out = acting.run("funnel").stdout
    share, alone = 300 / len(acted), 100 / len(held_out)
    words = f"activation, reached the goal: asked {share:.1f} % vs left alone {alone:.1f} %: "
    assert words in " ".join(out.split())
    assert "walls" not in out


def test_columns_stand_where_there_is_something_to_say() -> None:
    walls = FunnelRow("freemium", walls=4, prompts=3, clicks=2, checkouts=1, conversions=1)
    goals = FunnelRow("activation", prompts=9, journeys=10, goals=4, held_out_journeys=5, held_out_goals=1)
    none = FunnelRow("retention", prompts=2, journeys=2)
    (headings,) = (list(line) for line in drawn(walls)[:1])
    assert "journeys" not in " ".join(headings)
    assert "held out" not in " ".join(headings)
    cells = [cell.strip() for cell in drawn(walls, goals, none, with_goal=("activation",))[2]]
    assert cells[:9] == ["activation", "–", "9", "0", "–", "–", "–", "–", "–"]
    assert cells[9:] == ["10", "4", "40.0%", "–", "5", "20.0%"]
    plain = [cell.strip() for cell in drawn(walls, goals, none, with_goal=("activation",))[3]]
    assert plain[9:] == ["2", "–", "–", "–", "–", "–"]
    assert "goals" not in " ".join(drawn(none, with_goal=())[0])


def test_the_lift_in_words() -> None:
    asked = FunnelRow("freemium", subjects=1500, held_out_subjects=500, paid_subjects=160)
    sure = replace(asked, held_out_paid_subjects=40)
    assert list(lifts_in_words(sure, with_goal=False)) == [
        "freemium, paid: asked 12.0 % vs left alone 8.0 %: +4.0 points (95 %: +0.7 to +7.0)"
    ]
    week = datetime(2026, 3, 2, tzinfo=UTC)
    unsure = FunnelRow(
        "activation", journey_subjects=20, goal_subjects=5, held_out_journey_subjects=10, period=week
    )
    unsure = replace(unsure, held_out_goal_subjects=3)
    assert list(lifts_in_words(unsure, with_goal=True)) == [
        "activation, from 2026-03-02, reached the goal: asked 25.0 % vs left alone 30.0 %: "
        "−5.0 points (95 %: −38.3 to +24.1); the groups are too small to tell whether asking changes anything"
    ]
    assert not list(lifts_in_words(unsure, with_goal=False))
    assert not list(lifts_in_words(FunnelRow("freemium", walls=2, subjects=2), with_goal=True))


def test_a_sheet_sums_up_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    rich = FunnelRow(
        "=cmd|' /C calc'!A0", walls=4, revenue=(("eur", 100), ("usd", 5)), refunded=(("usd", 2),)
    )
    write_sheet(SHEET, sheet_rows([rich, FunnelRow("-x", walls=1), FunnelRow(None, conversions=2)]))
    lines = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert [one["loop"] for one in lines] == ["'=cmd|' /C calc'!A0"] * 2 + ["'-x", ""]
    assert sum(int(one["walls"] or 0) for one in lines) == 5
    money = [(one["currency"], one["revenue"], one["refunded"]) for one in lines]
    assert money == [("eur", "100", "0"), ("usd", "5", "2"), ("", "", ""), ("", "", "")]


def test_conversions_by_line(project: Project) -> None:
    for subject in ("ada", "=1+1"):
        assert project.run("plan", "set", "--", subject, "paid").exit_code == 0
    (first, second) = json.loads(project.run("conversions", "--json").stdout)["conversions"]
    assert list(first) == list(COLUMNS)
    assert (first["subject"], first["plan"], first["again"], first["wall"]) == ("ada", "paid", False, None)
    rest = project.run("conversions", "--csv", "--after", str(first["number"])).stdout
    (line,) = csv.DictReader(StringIO(rest))
    assert (line["subject"], line["ended_at"], line["again"]) == ("'=1+1", "", "false")
    assert line["converted_at"] == second["converted_at"]
    assert "ada" in project.run("conversions").stdout
    weekly = json.loads(project.run("funnel", "--by", "week", "--json").stdout)
    (row,) = weekly["loops"]
    assert (row["loop"], row["conversions"], row["lift"]) == (None, 2, None)
    assert datetime.fromisoformat(row["period"]).weekday() == 0
    assert project.run("funnel", "--by", "quarter").exit_code == 1
    assert project.run("funnel", "--csv", "--json").exit_code == 2
    assert project.run("conversions", "--since", "2026-02-02", "--until", "2026-01-01").exit_code == 1


# --- who is not written to ------------------------------------------------------------------------


def test_unsubscribing_and_taking_it_back(project: Project) -> None:
    assert project.run("unsubscribe", "ada").stdout == "ada: unsubscribed\n"
    assert project.run("unsubscribe", "ada").stdout == "ada: was unsubscribed already\n"
    (one,) = json.loads(project.run("suppressions", "--subject", "ada", "--json").stdout)["suppressions"]
    assert (one["kind"], one["subject"], one["source"]) == ("unsubscribed", "ada", "command")
    assert project.run("unsubscribe", "ada", "--undo").stdout == "ada: subscribed again\n"
    assert project.run("unsubscribe", "ada", "--undo").stdout == "ada: was not unsubscribed\n"
    assert project.run("suppressions").stdout == "everybody may be written to\n"


def test_an_address_is_looked_up_by_its_digest_and_freed(project: Project) -> None:
    suppress(Suppressed.BOUNCED, "ada@acme.test")
    suppress(Suppressed.COMPLAINED, "bob@acme.test")
    shown = project.run("suppressions").stdout
    assert "@" not in shown
    assert "bounced" in shown
    assert "complained" in shown
    found = json.loads(project.run("suppressions", "--address", " Ada@ACME.test", "--json").stdout)
    assert [one["kind"] for one in found["suppressions"]] == ["bounced"]
    assert (
        project.run("suppressions", "remove", "--address", "ada@acme.test").stdout
        == "1 suppression removed\n"
    )
    again = project.run("suppressions", "remove", "--address", "ada@acme.test")
    assert again.exit_code == 1
    assert again.stderr.startswith("error: nothing is known of this address")
    assert project.run("suppressions", "--address", "ada@acme.test").stdout == "nothing is known of them\n"
    assert project.run("suppressions", "--limit", "1").exit_code == 0
