"""What hooks are told of walls and of the messages that ask."""

from pydantic import JsonValue

from skene.engine.lasting import end_of
from skene.ports.counters import Draft
from skene.ports.grants import Grant
from skene.ports.hooks import EventKind
from skene.ports.ledger import Wall
from skene.ports.overrides import Override
from skene.runtime.parts import Parts

__all__ = [
    "checkout_opened",
    "granted",
    "link_clicked",
    "merged",
    "override_ended",
    "override_set",
    "prompt_sent",
    "wall_opened",
]


def wall_opened(parts: Parts, wall: Wall) -> tuple[Draft, ...]:
    """A subject was refused for the first time in a window."""
    data: dict[str, JsonValue] = {
        **_place(wall),
        "meter": wall.meter,
        "limit": wall.limit,
        "used": wall.used,
        "window_start": wall.window_start.isoformat(),
        "window_end": wall.window_end.isoformat(),
        "held_out": wall.held_out,
        "shadow": wall.shadow,
    }
    return parts.tell(EventKind.WALL_OPENED, wall.subject, data, wall.id)


def link_clicked(parts: Parts, wall: Wall) -> tuple[Draft, ...]:
    """A wall's link was followed."""
    return parts.tell(EventKind.LINK_CLICKED, wall.subject, _place(wall), wall.id)


def checkout_opened(parts: Parts, wall: Wall, session: str | None) -> tuple[Draft, ...]:
    """A checkout was opened from a wall."""
    data = {**_place(wall), "session": session}
    return parts.tell(EventKind.CHECKOUT_OPENED, wall.subject, data, wall.id)


def prompt_sent(parts: Parts, draft: Draft) -> tuple[Draft, ...]:
    """A mail that belongs to a wall or a journey was sent; of other messages nothing is told."""
    if not draft.is_mail or (draft.wall is None and draft.journey is None):
        return ()
    data: dict[str, JsonValue] = {
        "loop": draft.loop,
        "step": draft.step,
        "template": draft.template,
        "wall": draft.wall,
        "journey": draft.journey,
    }
    return parts.tell(EventKind.PROMPT_SENT, draft.subject, data, draft.key)


def granted(parts: Parts, grant: Grant) -> tuple[Draft, ...]:
    """A subject was granted units, by hand or by a loop."""
    now = parts.clock.now()
    ends = end_of(grant.expires, now)
    data: dict[str, JsonValue] = {
        "meter": grant.meter,
        "units": grant.units,
        "expires_seconds": None if ends is None else int((ends - now).total_seconds()),
        "reason": grant.reason,
        "loop": grant.loop,
    }
    return parts.tell(EventKind.GRANTED, grant.subject, data, grant.subject, grant.key)


def override_set(parts: Parts, override: Override) -> tuple[Draft, ...]:
    """A subject was given another limit."""
    data: dict[str, JsonValue] = {
        "meter": override.meter,
        "limit": override.limit,
        "reason": override.reason,
    }
    return parts.tell(EventKind.OVERRIDE_SET, override.subject, data, parts.clock.new_id())


def override_ended(parts: Parts, subject: str, meter: str) -> tuple[Draft, ...]:
    """A subject's own limit was taken back."""
    return parts.tell(EventKind.OVERRIDE_ENDED, subject, {"meter": meter}, parts.clock.new_id())


def merged(parts: Parts, source: str, target: str) -> tuple[Draft, ...]:
    """A subject turned out to be another one. Whoever forgets the source looks for its name in here."""
    data: dict[str, JsonValue] = {"source": source, "target": target}
    return parts.tell(EventKind.MERGED, target, data, source, target)


def _place(wall: Wall) -> dict[str, JsonValue]:
    return {"wall": wall.id, "loop": wall.loop, "step": wall.step, "plan": wall.plan}
