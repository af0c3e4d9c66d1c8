"""A `Skene` for `skene worker` in processes of their own; told everything by the environment.

`WORK_DATABASE` and `WORK_RESEND` are addresses, `WORK_LOOP` is a file with a loop. The others may be left
out: `WORK_CLOCK` is a file that tells the storage's time, `WORK_LATE` how many seconds the clock of the
application is behind that, `WORK_PER_SECOND` the pace.
"""

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from skene import Skene, load_loop
from skene.adapters.postgres import PostgresStorage
from skene.adapters.resend import ResendNotifier
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.system import SystemClock
from skene.ports.clock import Clock
from skene.ports.storage import Storage

__all__ = ["FileClock"]


class FileClock(SystemClock):
    """A clock that several processes share: it shows what a file says, and stands still in between."""

    def __init__(self, path: Path, late: timedelta = timedelta(0)) -> None:
        self._path = path
        self._late = late

    def now(self) -> datetime:
        return datetime.fromisoformat(self._path.read_text()) - self._late

    def set(self, to: datetime) -> None:
        """Let all see another time, at once."""
        beside = self._path.with_suffix(".new")
        beside.write_text(to.isoformat())
        beside.replace(self._path)


def _storage(address: str, clock: Clock | None) -> Storage:
    if address.startswith("sqlite:///"):
        return SqliteStorage(address.removeprefix("sqlite:///"), clock=clock)
    return PostgresStorage(address, clock=clock)


def _make(env: Mapping[str, str]) -> Skene:
    told, late = env.get("WORK_CLOCK"), timedelta(seconds=float(env.get("WORK_LATE", "0")))
    resend = ResendNotifier(
        "re_local0resend",
        "App <team@app.test>",
        base_url=env["WORK_RESEND"],
        per_second=float(env.get("WORK_PER_SECOND", "1000")),
    )
    return Skene(
        load_loop(Path(env["WORK_LOOP"])),
        storage=_storage(env["WORK_DATABASE"], FileClock(Path(told)) if told else None),
        notifiers={"resend": resend},
        clock=FileClock(Path(told), late) if told else None,
    )


if "WORK_LOOP" in os.environ:
    skene = _make(os.environ)
