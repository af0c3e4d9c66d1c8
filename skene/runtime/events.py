"""What the app and others tell of: events, signed webhooks, reports on mails, people who unsubscribe."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from skene.definitions.faults import describe, nearest
from skene.definitions.triggers import PLAN_CHANGED
from skene.engine.keys import unique_key
from skene.engine.paths import subject_at
from skene.engine.subject import storable_id
from skene.ports.contacts import Suppressed
from skene.ports.firings import DecisionRow, NewFiring, Outcome
from skene.ports.notifier import Reporting
from skene.ports.outbox import MessageRow, MessageState
from skene.runtime.asks import stored
from skene.runtime.aware import check_aware
from skene.runtime.mailing import address_digest
from skene.runtime.parts import Parts

__all__ = ["EventVerbs"]

LARGEST_DATA = 65_536
"""Bytes of JSON that an event may carry: it is written down for every step that listens."""


class EventVerbs:
    """`emit`, `unsubscribe`, `log`, and what the routes for webhooks call."""

    _parts: Parts

    async def emit(
        self,
        event: str,
        subject: str,
        data: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> int:
        """Tell of something that a subject has done. It is written down before this returns.

        Args:
            event: as loops name it in `trigger.event(…)` or `goal=`.
            subject: who.
            data: what templates and queries may use of it, plain JSON of up to 64 kB.
            idempotency_key: names this occurrence; told again under the same key, it counts once.

        Returns:
            How many steps it has set off. One that nobody listens to is not an error: 0, and a warning.

        Raises:
            ValueError: data that is no JSON, or too much of it; or `plan.changed`, which is skene's own.
            SubjectInvalid: no subject.
            StorageUnavailable: nothing was written down.
        """
        who, said = stored(subject), _as_json(data)
        if event == PLAN_CHANGED:
            raise ValueError(f"event: {PLAN_CHANGED!r} is told by skene itself, when a plan changes")
        reactions = self._parts.program.reactions
        listening, goals = reactions.listening(event), reactions.reached_by(event)
        if not listening and not goals:
            self._nobody_listens(event)
            return 0
        once = idempotency_key or self._parts.clock.new_id()
        firings = tuple(
            NewFiring(unique_key("event", event, who, once, one.key), one.loop, one.key, who, said)
            for one in listening
        )
        new = await self._parts.storage.emit(who, firings, goals, hooks=self._parts.hook_names)
        if new:
            self._parts.wake()
        return new

    def _nobody_listens(self, event: str) -> None:
        near = nearest(event, self._parts.program.reactions.events())
        hint = f"; did you mean {near!r}?" if near else ""
        self._parts.log.warning("no loop listens to the event %.100r%s", event, hint)

    async def receive_event(self, source: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Take a signed webhook from elsewhere.

        Args:
            source: by its name in `Skene(sources=…)`.
            body: the raw bytes. headers: with lower-case names.

        Returns:
            How many steps it has set off now; 0 too when it was known already.

        Raises:
            LookupError: no source has this name.
            WebhookRejected: not authentic.
            StorageUnavailable: not recorded; the sender must send it again.
        """
        parts = self._parts
        if source not in parts.sources:
            raise LookupError(f"no source is called {source!r}")
        told = parts.sources[source].parse(body, headers, parts.clock.now())
        by_subject: dict[str, list[NewFiring]] = {}
        for one, trigger in parts.program.reactions.from_source(source, told.type):
            subject = subject_at(told.payload, trigger.subject)
            if not subject:
                text = "a webhook from %s names no subject at %s: step %s leaves it out"
                parts.log.warning(text, source, trigger.subject, one.key)
                continue
            who = storable_id(subject)
            key = unique_key("webhook", source, told.id, one.key)
            firing = NewFiring(key, one.loop, one.key, who, dict(told.payload))
            by_subject.setdefault(who, []).append(firing)
        new = 0
        for who, firings in by_subject.items():
            new += await parts.storage.emit(who, tuple(firings), {})
        if new:
            parts.wake()
        return new

    async def receive_report(self, channel: str, body: bytes, headers: Mapping[str, str]) -> bool:
        """Take a provider's signed report: an address that bounces or complains is written to no more.

        Returns:
            Whether it changed anything.

        Raises:
            LookupError: no notifier has this name, or it takes no reports.
            WebhookRejected: not authentic.
            StorageUnavailable: not recorded; the sender must send it again.
        """
        parts = self._parts
        notifier = parts.notifiers.get(channel)
        if notifier is None or not isinstance(notifier, Reporting):
            raise LookupError(f"no notifier that takes reports is called {channel!r}")
        report = notifier.parse_report(body, headers, parts.clock.now())
        if report is None:
            return False
        kind = None
        if report.kind == "complained":
            kind = Suppressed.COMPLAINED
        elif report.kind == "bounced" and report.permanent:
            kind = Suppressed.BOUNCED
        if kind is not None and report.address is not None:
            digest = address_digest(report.address)
            return await parts.storage.suppress(kind, address=digest, source=channel)
        if report.provider_id is not None:
            return await parts.storage.mark_report(report.provider_id, report.kind)
        return False

    async def unsubscribe(self, subject: str, *, source: str = "code") -> bool:
        """Send a subject no marketing mail any more, and end the journeys that consist of it.

        Returns:
            Whether it was subscribed until now.
        """
        return await self._parts.storage.suppress(
            Suppressed.UNSUBSCRIBED, subject=stored(subject), source=source
        )

    async def resubscribe(self, subject: str) -> bool:
        """Take an unsubscription back. Returns whether there was one."""
        return bool(
            await self._parts.storage.unsuppress(subject=stored(subject), kind=Suppressed.UNSUBSCRIBED)
        )

    async def log(
        self,
        *,
        loop: str | None = None,
        subject: str | None = None,
        outcome: Outcome | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> tuple[DecisionRow, ...]:
        """How firings and walls were decided, latest first.

        Raises:
            ValueError: an instant without a time zone.
        """
        check_aware(since=since)
        who = None if subject is None else stored(subject)
        return await self._parts.storage.decisions(
            loop=loop, subject=who, outcome=outcome, since=since, limit=limit
        )

    async def outbox(
        self,
        *,
        states: tuple[MessageState, ...] = (),
        loop: str | None = None,
        subject: str | None = None,
        limit: int = 100,
    ) -> tuple[MessageRow, ...]:
        """Messages and what became of them, latest first."""
        who = None if subject is None else stored(subject)
        return await self._parts.storage.outbox_rows(states=states, loop=loop, subject=who, limit=limit)


def _as_json(data: object) -> dict[str, object]:
    """The data as it will come back from the database: a mistake would else only show in a worker."""
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise ValueError(f"data: got {describe(data)}; give values by name")
    try:
        text = json.dumps(dict(cast("Mapping[str, Any]", data)), allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"data: got a value that is no JSON ({error}); give plain values") from None
    if size > LARGEST_DATA:
        raise ValueError(f"data: got {size:,} bytes of JSON; give up to {LARGEST_DATA:,}")
    read: dict[str, object] = json.loads(text)
    return read
