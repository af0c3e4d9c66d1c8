"""Actions that are no message to anybody: they go the way of messages, and so happen once."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

import anyio
from pydantic import JsonValue

from skene.definitions import FunctionAction
from skene.engine.occasion import Occasion
from skene.errors import DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.counters import Draft
from skene.ports.grants import Grant
from skene.ports.hooks import Event, EventKind, Hook
from skene.ports.notifier import FOREVER, Body, Notifier
from skene.runtime.calling import call
from skene.runtime.inner import Inner
from skene.runtime.parts import Parts
from skene.runtime.reporting import UsageChannel
from skene.runtime.telling import granted

__all__ = ["channel_of"]

PATIENCE_WITH_HOOKS = 10.0


def channel_of(parts: Parts, draft: Draft) -> Notifier | None:
    """What a message goes through; None when there is no such thing any more."""
    if draft.kind == "grant":
        return GrantChannel(parts, draft)
    if draft.kind == "usage":
        return UsageChannel(parts, draft)
    if draft.kind == "function":
        reaction = parts.program.reactions.get(draft.step)
        index = int(draft.template)
        action = reaction.actions[index] if reaction and index < len(reaction.actions) else None
        return FunctionChannel(action, draft) if isinstance(action, FunctionAction) else None
    if draft.kind == "event":
        hook = parts.hooks.get(draft.channel)
        return EventChannel(hook, draft) if hook is not None else None
    return parts.notifiers.get(draft.channel)


class GrantChannel(Inner):
    """Gives a subject extra units; the storage knows each grant by its key."""

    def __init__(self, parts: Parts, draft: Draft) -> None:
        super().__init__(draft)
        self._parts = parts

    @property
    def remembers_keys(self) -> timedelta:
        """For ever."""
        return FOREVER

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Give them; see `Notifier.send`."""
        meters = self._parts.program.meters
        given = cast("Mapping[str, Any]", body["grant"])
        meter = given["meter"] or (meters[0] if meters else None)
        if meter not in meters:
            raise DeliveryRefused(f"no limit counts on a meter {meter!r} any more")
        seconds = given["seconds"]
        grant = Grant(
            key=idempotency_key,
            subject=self._draft.subject,
            meter=meter,
            units=given["units"],
            expires=None if seconds is None else timedelta(seconds=seconds),
            reason=given["reason"],
            loop=self._draft.loop,
        )
        await self._parts.storage.grant(grant, granted(self._parts, grant))
        return None


class EventChannel(Inner):
    """Tells a hook of an event, until it has taken it."""

    def __init__(self, hook: Hook, draft: Draft) -> None:
        super().__init__(draft)
        self._hook = hook

    @property
    def remembers_keys(self) -> timedelta:
        """For ever: a hook knows that it may hear of an event twice."""
        return FOREVER

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Tell it; see `Notifier.send`. Whatever goes wrong is tried again, unless the hook refuses."""
        event = Event(
            id=cast(str, body["id"]),
            kind=EventKind(self._draft.template),
            subject=self._draft.subject,
            at=datetime.fromisoformat(cast(str, body["at"])),
            data=cast("dict[str, JsonValue]", body["data"]),
        )
        try:
            with anyio.fail_after(PATIENCE_WITH_HOOKS):
                await self._hook.handle(event)
        except (DeliveryFailed, DeliveryRefused):
            raise
        except DeliveryUnknown as error:
            raise DeliveryFailed(str(error)) from error
        except TimeoutError as error:
            raise DeliveryFailed("the hook did not take it in time") from error
        except Exception as error:
            raise DeliveryFailed(f"the hook raised {type(error).__name__}") from error
        return None


class FunctionChannel(Inner):
    """Calls a function of the app's."""

    def __init__(self, action: FunctionAction, draft: Draft) -> None:
        super().__init__(draft)
        self._action = action

    @property
    def remembers_keys(self) -> timedelta:
        """For ever if it may be called twice; else nobody calls it again who does not know how it ended."""
        return FOREVER if self._action.repeatable else timedelta(0)

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Call it; see `Notifier.send`. What it raises is a failure that is tried again."""
        try:
            await call(self._action.function, self._told(body))
        except Exception as error:
            raise DeliveryFailed(f"the function raised {type(error).__name__}") from error
        return None

    def _told(self, body: Body) -> Occasion:
        said = cast("Mapping[str, str]", body["occasion"])
        return Occasion(
            subject=self._draft.subject,
            loop=self._draft.loop,
            step=self._draft.step,
            key=said["key"],
            occurred_at=datetime.fromisoformat(said["occurred_at"]),
            plan=said["plan"],
            event=cast("dict[str, JsonValue]", body["event"]),
            row=cast("dict[str, JsonValue]", body["row"]),
        )
