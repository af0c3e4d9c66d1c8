"""`skene outbox`: what is listed and shown, and what a person can decide."""

import json
from datetime import timedelta
from typing import Any

import anyio
import pytest

from skene.adapters.sqlite import SqliteStorage
from skene.ports.outbox import MessageState, Outcome
from tests.cli.project import Project

DEAD, PARKED, PENDING = MessageState.DEAD, MessageState.PARKED, MessageState.PENDING


def settle(**states: MessageState) -> dict[str, int]:
    """Let each subject's message come to an end. Returns the messages' numbers."""

    async def run() -> dict[str, int]:
        storage = SqliteStorage("app.db")
        try:
            held = await storage.claim(100, timedelta(seconds=30))
            for one in held:
                state = states.get(one.draft.subject, PENDING)
                await storage.settle(one, Outcome(state, failed=True, reason=f"it is {state}"))
            return {one.draft.subject: one.id for one in held}
        finally:
            await storage.aclose()

    return anyio.run(run)


def listed(project: Project, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(project.run("outbox", "list", *args, "--json").stdout)[
        "messages"
    ]
    return found


@pytest.fixture
def three(project: Project) -> dict[str, int]:
    for subject in ("ada", "bob", "eve"):
        project.use(subject, 3)
    return settle(ada=DEAD, bob=PARKED)


def test_messages_are_listed_latest_first(project: Project, three: dict[str, int]) -> None:
    assert [one["subject"] for one in listed(project)] == ["eve", "bob", "ada"]
    assert [one["state"] for one in listed(project)] == ["pending", "parked", "dead"]
    table = project.run("outbox", "list").stdout
    row = next(line for line in table.splitlines() if " ada " in line)
    assert row.split()[:5] == [str(three["ada"]), "dead", "freemium", "ada", "e-mail"]
    assert row.rstrip().endswith("it is dead")


@pytest.mark.parametrize(
    ("args", "subjects"),
    [
        (("--state", "dead"), ["ada"]),
        (("--state", "dead", "--state", "PARKED"), ["bob", "ada"]),
        (("--subject", "eve"), ["eve"]),
        (("--loop", "freemium", "--limit", "2"), ["eve", "bob"]),
        (("--state", "sent"), []),
    ],
)
def test_the_list_can_be_narrowed(
    project: Project, three: dict[str, int], args: tuple[str, ...], subjects: list[str]
) -> None:
    assert [one["subject"] for one in listed(project, *args)] == subjects


def test_it_says_that_there_is_more(project: Project, three: dict[str, int]) -> None:
    assert (
        "these are the latest 2; --limit shows more" in project.run("outbox", "list", "--limit", "2").stdout
    )
    assert "--limit shows more" not in project.run("outbox", "list", "--limit", "3").stdout
    assert project.run("outbox", "list", "--state", "sent").stdout == "no messages that are sent\n"


def test_one_message_is_shown_whole(project: Project, three: dict[str, int]) -> None:
    shown = project.run("outbox", "show", str(three["bob"])).stdout
    assert "state      parked\n" in shown
    assert "reason     it is parked\n" in shown
    assert "failures   1 of its attempts failed\n" in shown
    assert "made at the first attempt" in shown
    found = json.loads(project.run("outbox", "show", str(three["bob"]), "--json").stdout)
    assert (found["subject"], found["state"], found["body"]) == ("bob", "parked", None)


def test_a_frozen_body_is_readable_and_its_links_are_of_no_use(project: Project) -> None:
    project.use("ada", 3)
    project.run("worker", "--once")
    (one,) = listed(project)
    for args in ((), ("--json",)):
        shown = project.run("outbox", "show", str(one["id"]), *args).stdout
        assert "ada@acme.test" in shown
        assert "Enough." in shown
        assert "/skene/upgrade?token=…" in shown
        assert "<html" not in shown
        assert shown.count("token=") == shown.count("token=…")


def test_retrying_makes_due_again_and_the_worker_sends(project: Project, three: dict[str, int]) -> None:
    result = project.run("outbox", "retry", str(three["ada"]), str(three["bob"]))
    assert (result.exit_code, result.stdout) == (0, "2 messages due again\n")
    project.run("worker", "--once")
    states = {one["subject"]: one["state"] for one in listed(project)}
    assert (states["ada"], states["bob"]) == ("sent", "sent")


def test_what_cannot_be_retried_is_named_and_the_others_are(project: Project, three: dict[str, int]) -> None:
    project.run("worker", "--once")
    (sent,) = (one["id"] for one in listed(project, "--subject", "eve"))
    result = project.run("outbox", "retry", "999", str(sent), str(three["ada"]))
    assert result.exit_code == 1
    assert result.stdout == "1 message due again\n"
    assert result.stderr.splitlines() == [
        "error: there is no message 999",
        f"error: message {sent} is sent and cannot be retried",
    ]
    assert listed(project, "--subject", "ada")[0]["state"] == "pending"


def test_retrying_a_whole_state_asks_first(project: Project, three: dict[str, int]) -> None:
    assert project.run("outbox", "retry", "--state", "parked", stdin="n\n").exit_code == 1
    assert listed(project, "--state", "parked")
    asked = project.run("outbox", "retry", "--state", "dead", "--state", "parked", stdin="y\n")
    assert (
        "Try 2 messages again that are dead or parked? A parked one may have arrived already." in asked.stdout
    )
    assert asked.exit_code == 0
    assert not listed(project, "--state", "parked", "--state", "dead")
    assert project.run("outbox", "retry", "--state", "dead", "--yes").stdout == "0 messages due again\n"


def test_discarding_cancels_with_a_reason(project: Project, three: dict[str, int]) -> None:
    result = project.run("outbox", "discard", str(three["eve"]), "--reason", "wrong address")
    assert (result.exit_code, result.stdout) == (0, "1 message cancelled\n")
    (one,) = listed(project, "--subject", "eve")
    assert (one["state"], one["reason"]) == ("cancelled", "wrong address")
    assert one["settled_at"] is not None
    missing = project.run("outbox", "discard", "999", str(three["ada"]))
    assert missing.exit_code == 1
    assert missing.stderr == "error: there is no message 999\n"
    assert listed(project, "--subject", "ada")[0]["reason"] == "discarded by hand"


def test_a_message_in_a_worker_s_hands_is_left_to_it(project: Project) -> None:
    project.use("ada", 3)

    async def claim() -> int:
        storage = SqliteStorage("app.db")
        (held,) = await storage.claim(1, timedelta(minutes=5))
        await storage.aclose()
        return held.id

    number = anyio.run(claim)
    for verb, words in (("retry", "retried"), ("discard", "discarded")):
        result = project.run("outbox", verb, str(number))
        assert result.exit_code == 1
        assert result.stderr == f"error: message {number} is in a worker's hands and cannot be {words}\n"
