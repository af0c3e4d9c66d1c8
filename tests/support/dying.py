"""Death at a chosen place: a process kills itself there, once for each subject that is named after the place.

`APP_DEATHS` is the folder that the processes of a trial share; without it nobody dies.
"""

import os
import signal
from pathlib import Path
from typing import Any

from skene.ports.counters import Draft, Receipt
from skene.ports.ledger import Wall
from skene.ports.notifier import Body
from skene.ports.outbox import Attempt, Claimed, Outcome

__all__ = ["PLACES", "MortalNotifier", "MortalStorage", "deaths", "die_at"]

PLACES = ("wall", "claim", "begin", "sent", "settled")
"""After the wall's commit; with the message claimed; with its attempt noted; sent, but not noted; noted."""


def die_at(place: str, whom: str) -> None:
    """Die here, as by `kill -9`, the first time that anybody comes here with this subject."""
    folder = os.environ.get("APP_DEATHS")
    if folder is None or not whom.startswith(f"{place}-"):
        return
    try:
        (Path(folder) / whom).open("x").close()
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def deaths(folder: Path) -> dict[str, float]:
    """Who was died for, and when: seconds since 1970."""
    return {path.name: path.stat().st_mtime for path in folder.iterdir()}


class MortalStorage:
    """A storage whose process dies once a verb is done."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def open_wall(self, wall: Wall, drafts: tuple[Draft, ...], **how: Any) -> str:
        opened: str = await self._inner.open_wall(wall, drafts, **how)
        die_at("wall", wall.subject)
        return opened

    async def claim(self, limit: int, lease: Any) -> tuple[Claimed, ...]:
        claimed: tuple[Claimed, ...] = await self._inner.claim(limit, lease)
        for one in claimed:
            die_at("claim", one.draft.subject)
        return claimed

    async def begin_attempt(self, claimed: Claimed, body: Body, *rules: Any) -> Attempt:
        begun: Attempt = await self._inner.begin_attempt(claimed, body, *rules)
        die_at("begin", claimed.draft.subject)
        return begun

    async def settle(self, claimed: Claimed, outcome: Outcome) -> bool:
        settled: bool = await self._inner.settle(claimed, outcome)
        die_at("settled", claimed.draft.subject)
        return settled

    async def refund(self, subject: str, receipts: tuple[Receipt, ...], key: str | None = None) -> None:
        die_at("refund", subject)
        await self._inner.refund(subject, receipts, key)
        die_at("refunded", subject)


class MortalNotifier:
    """A notifier whose process dies between the provider's yes and the note of it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        provider_id: str | None = await self._inner.send(body, idempotency_key=idempotency_key)
        (to,) = body["to"] if isinstance(body["to"], list) else [body["to"]]
        die_at("sent", str(to).partition("@")[0])
        return provider_id
