"""A user's project in a folder of its own, and `skene` run in it: in this process, or as a program."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
from typer.testing import CliRunner, Result

from skene.adapters.sqlite import SqliteStorage
from skene.cli.app import app
from skene.ports.outbox import MessageState
from skene.wiring import Skene

SKENE = Path(sys.executable).with_name("skene")

LOOP = """
from skene import Profile, Skene, UNLIMITED, action, condition, define_loop, step, trigger
from skene.adapters.file import FileNotifier
from skene.adapters.sqlite import SqliteStorage

freemium = define_loop(
    type="freemium",
    opinion="Stop the free ones",
    steps=[
        step(
            trigger=trigger.api("/api/features/*", method="POST"),
            condition=condition.usage(limit={"free": 2, "paid": UNLIMITED}, period="30d", meter="calls"),
            action=action.block("Enough.", upgrade_prompt=action.email("upgrade_prompt", provider="resend")),
        )
    ],
)


async def load_profile(subject):
    return Profile(email=f"{subject}@acme.test")

"""
CONFIG = (
    LOOP
    + """
skene = Skene(
    freemium,
    storage=SqliteStorage("app.db"),
    notifiers={"resend": FileNotifier("outbox")},
    profile=load_profile,
)
"""
)
APP = """
from fastapi import FastAPI
from skene.fastapi import Gate
from skene_config import skene


def who() -> str:
    return "ada"


app = FastAPI()
gate = Gate(skene, subject=who)
gate.install(app)


@app.post("/api/features/summarise")
async def summarise() -> str:
    return "done"


@app.post("/translate")
@gate.enforce("freemium")
async def translate() -> str:
    return "done"


@app.get("/free")
async def free() -> str:
    return "done"
"""


REACTING = """
from skene import Profile, Skene, UNLIMITED, action, condition, define_loop, step, trigger
from skene.adapters.file import FileNotifier
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.sqlite.queries import SqliteQueries
from skene.definitions.step import wait


async def tell_sales(occasion):
    print("telling", flush=True)


def is_ready(occasion):
    return True


WORDS = {"name": "{{user.name}}", "activationLink": "https://app.acme.test", "lastActivity": "2026-03-01"}
freemium = define_loop(
    type="freemium",
    steps=[
        step(
            condition=condition.usage(limit={"free": 2, "paid": UNLIMITED}, period="30d", meter="calls"),
            action=action.block("Enough."),
        )
    ],
)
activation = define_loop(
    type="activation",
    opinion="Welcome them",
    holdout=0.25,
    goal=trigger.event("project.created"),
    steps=[
        step(
            name="welcome",
            trigger=trigger.event("signed.up"),
            action=action.email("activation_welcome", provider="resend", personalization=WORDS),
            then=wait("2d"),
        ),
        step(
            name="again",
            action=action.email("re_engagement", personalization=WORDS, transactional=True),
            max_fires=3,
        ),
    ],
)


async def load_profile(subject):
    return Profile(email=f"{subject}@acme.test", name=subject)


def make(*loops, storage=SqliteStorage("app.db"), queries=SqliteQueries("app.db"), **others):
    mails = {"resend": FileNotifier("outbox")}
    return Skene(*loops, storage=storage, queries=queries, notifiers=mails, profile=load_profile, **others)


skene = make(freemium, activation)
"""
"""Loops that firings drive; a test may put others in front of the last line."""


def reacting(loops: str, made: str) -> str:
    """The configuration above with further definitions, and another last line."""
    return f"{REACTING.rpartition('skene = ')[0]}{textwrap.dedent(loops)}\nskene = {made}\n"


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Project:
    """The folder, which is also the working directory."""

    folder: Path

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())

    def run(self, *args: str, stdin: str | None = None) -> Result:
        """A command, in this process."""
        return CliRunner().invoke(app, list(args), input=stdin)

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """A command, as a program that goes on."""
        return subprocess.Popen(
            [SKENE, *args],
            cwd=self.folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def program(self, *args: str, env: Mapping[str, str] | None = None, timeout: float = 60) -> Ended:
        """A command, as a program, to its end."""
        with self.start(*args, env=env) as process:
            out, err = process.communicate(timeout=timeout)
            return Ended(process.returncode, out, err)

    def use(self, subject: str, times: int) -> None:
        """Count calls as the app would."""

        async def consume() -> None:
            async with self._skene() as skene:
                for _ in range(times):
                    await skene.consume(subject, "calls")

        anyio.run(consume)

    def grant(self, subject: str, units: int) -> None:
        """Grant units as the app would."""

        async def grant() -> None:
            async with self._skene() as skene:
                await skene.grant(
                    subject, "calls", units, expires="30d", reason="invited a friend", key="invite:bob"
                )

        anyio.run(grant)

    def states(self) -> list[MessageState]:
        """What became of every message."""

        async def look() -> list[MessageState]:
            async with self._skene() as skene:
                return [state for _, state, _ in await skene.storage.messages()]

        return anyio.run(look)

    def _skene(self) -> Skene:
        names: dict[str, Skene] = {}
        exec(CONFIG, names)  # noqa: S102 - the configuration above, without importing it as a module
        return Skene(
            *names["skene"].loops, storage=SqliteStorage("app.db"), notifiers=names["skene"].notifiers
        )
