"""What a test expects of a subject, compared with what has happened."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, cast

from skene.engine.subject import storable_id
from skene.ports.outbox import MessageState

if TYPE_CHECKING:
    from skene.testing.worlds import World

__all__ = ["ABSENT", "LEGEND", "differences", "happened"]

ABSENT = "(absent)"
LEGEND = "(- expected, + is)"


def happened(world: "World", subject: str) -> dict[str, object]:
    """What has become of a subject, by the names that `World.expect` has for it."""
    posted = world.storage.posted(storable_id(subject))
    return {
        "plan": world.plan(subject),
        "mails": world.sent(subject),
        "webhooks": [body.get("type") for body in world.webhooks(subject)],
        "pending": [
            draft.template
            for draft, state, _ in posted
            if state is MessageState.PENDING and draft.kind != "event"
        ],
        "walls": [wall.step for wall in world.walls(subject)],
        "conversions": [one.loop for one in world.conversions(subject)],
        "events": [str(event.kind) for event in world.events(subject)],
    }


def differences(wanted: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    """Lines that say what differs, name by name; lists are compared entry by entry.

    Args:
        wanted: by name.
        found: what there is instead, by the same names.
    """
    lines: list[str] = []
    for name, value in wanted.items():
        there = found[name]
        before, after = _entries(value), _entries(there)
        if before is not None and after is not None:
            lines += [] if before == after else [f"  {name}:", *_entry_by_entry(before, after)]
        elif value != there or isinstance(value, bool) is not isinstance(there, bool):  # 1 is no True in JSON
            lines += [f"  - {name}: {_said(value)}", f"  + {name}: {_said(there)}"]
    return lines


# -- inside ------------------------------------------------------------------------------------------------


def _entries(value: object) -> list[str] | None:
    if not isinstance(value, list | tuple):
        return None
    return [_said(one) for one in cast("Iterable[object]", value)]


def _entry_by_entry(before: Sequence[str], after: Sequence[str]) -> Iterable[str]:
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from (f"      {one}" for one in before[a:b])
        else:
            yield from (f"    - {one}" for one in before[a:b])
            yield from (f"    + {one}" for one in after[c:d])


def _said(value: object) -> str:
    return ABSENT if value is ABSENT else repr(value)
