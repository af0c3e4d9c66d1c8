"""`skene worker` as a process: it delivers, and on a signal ends in time without losing a message."""

import signal
import subprocess
import threading
import time

import pytest

from skene.ports.outbox import MessageState
from tests.cli.project import CONFIG, Project

SLOW = """
import anyio


class Slow(FileNotifier):
    async def send(self, body, *, idempotency_key):
        print("sending", flush=True)
        await anyio.sleep({seconds})
        return await super().send(body, idempotency_key=idempotency_key)

"""


def slow(seconds: float) -> str:
    config = CONFIG.replace('FileNotifier("outbox")', 'Slow("outbox")')
    return config.replace("\nskene = Skene(", SLOW.format(seconds=seconds) + "\nskene = Skene(")


def wait_for(process: "subprocess.Popen[str]", words: str) -> None:
    """Read standard output up to a line with these words."""
    assert process.stdout is not None
    watchdog = threading.Timer(20, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if words in line:
                return
    finally:
        watchdog.cancel()
    raise AssertionError(f"it never said {words!r}")


def wait_until_written(project: Project) -> None:
    deadline = time.monotonic() + 20
    while not list((project.folder / "outbox").glob("*.eml")):
        assert time.monotonic() < deadline, "no mail was written"
        threading.Event().wait(0.05)


def test_once_delivers_what_is_due_and_ends(project: Project) -> None:
    project.use("ada", 3)
    project.use("bob", 3)
    assert project.run("worker", "--once").stdout == "2 messages dealt with\n"
    assert project.states() == [MessageState.SENT] * 2
    assert len(list((project.folder / "outbox").glob("*.eml"))) == 2
    assert project.run("worker", "--once").stdout == "0 messages dealt with\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_delivers_until_a_signal(project: Project, number: signal.Signals) -> None:
    with project.start("worker") as worker:
        wait_for(worker, "at work for freemium: messages")
        project.use("ada", 3)
        wait_until_written(project)
        worker.send_signal(number)
        out, err = worker.communicate(timeout=10)
    assert worker.returncode == 0, err
    assert out.endswith("stopped\n")
    assert project.states() == [MessageState.SENT]


def test_a_message_in_hand_is_sent_and_the_others_go_back(project: Project) -> None:
    project.write("skene_config.py", slow(1.5))
    for name in ("ada", "bob", "eve"):
        project.use(name, 3)
    with project.start("worker") as worker:
        wait_for(worker, "sending")
        worker.terminate()
        begun = time.monotonic()
        _, err = worker.communicate(timeout=10)
        assert time.monotonic() - begun < 10
    assert worker.returncode == 0, err
    assert project.states() == [MessageState.SENT, MessageState.PENDING, MessageState.PENDING]


def test_a_message_that_does_not_end_holds_nobody_up(project: Project) -> None:
    project.write("skene_config.py", "import skene.cli.worker as one\none.PATIENCE = 0.5\n" + slow(14))
    project.use("ada", 3)
    with project.start("worker") as worker:
        wait_for(worker, "sending")
        worker.terminate()
        _, err = worker.communicate(timeout=5)
    assert worker.returncode == 1
    assert "stopped in the middle of its work" in err
    assert project.states() == [MessageState.CLAIMED]
