"""`skene log`, `skene funnel` with goals, and who is not written to."""

import json
from io import StringIO
from typing import Any

import anyio
import pytest
from rich.console import Console

from skene.adapters.sqlite import SqliteStorage
from skene.cli.reports import funnel_table, lift_in_words
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
    share, alone = 3 / len(acted), 1 / len(held_out)
    assert (
        f"activation: {share:.1%} of {len(acted)} reached the goal, and {alone:.1%} of the {len(held_out)} "
        f"who were left alone: {(share - alone) * 100:+.1f} percentage points"
    ) in out
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


def test_the_lift_needs_both_groups() -> None:
    both = FunnelRow("activation", journeys=200, goals=80, held_out_journeys=20, held_out_goals=5)
    assert lift_in_words(both) == (
        "activation: 40.0% of 200 reached the goal, and 25.0% of the 20 who were left alone: "
        "+15.0 percentage points"
    )
    assert not lift_in_words(FunnelRow("activation", journeys=200, goals=80))
    assert not lift_in_words(FunnelRow("freemium", walls=2))


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
