"""What differs between two sets of loops."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import SequenceMatcher
from enum import Enum
from types import CodeType
from typing import Any, cast
from zlib import crc32

from skene.definitions import Definition, Loop, Step, format_duration

__all__ = ["ABSENT", "Difference", "differences"]


class Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT
"""There is no such thing on this side."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same.

    Attributes:
        loop: key of the loop.
        step: name of the step, or its place from 1 on, on the new side if it is there; None for what is of
            the whole loop.
        path: keys that lead to it from there; empty for the step or loop itself.
        before, after: plain values: text, numbers, lists, mappings; `ABSENT` where it is not there.
        context: the definition on the new side that holds it, else the old one's.
    """

    loop: str
    step: str | None
    path: tuple[str, ...]
    before: Any
    after: Any
    context: Definition


def differences(old: Sequence[Loop], new: Sequence[Loop]) -> tuple[Difference, ...]:
    """What differs, in the order of the new loops, then those that are gone.

    Loops are compared by their keys; steps by their names, those without one in their order, those that are
    alike first. Functions are the same if name and code are.
    """
    before, after = {one.key: one for one in old}, {one.key: one for one in new}
    found: list[Difference] = []
    for key, loop in after.items():
        if key in before:
            found += _of_loop(before[key], loop)
        else:
            found.append(Difference(key, None, (), ABSENT, _plain(loop), loop))
    gone = [loop for key, loop in before.items() if key not in after]
    found += [Difference(loop.key, None, (), _plain(loop), ABSENT, loop) for loop in gone]
    return tuple(found)


def _of_loop(old: Loop, new: Loop) -> Iterator[Difference]:
    for path, before, after, context in _walk(old, new, (), skip=("steps", "name")):
        yield Difference(new.key, None, path, before, after, context)
    for one, other in _pairs(old.steps, new.steps):
        if one is None or other is None:
            there, steps = (other, new.steps) if one is None else (one, old.steps)
            name = _name(cast(Step, there), steps)
            before = ABSENT if one is None else _plain(one)
            after = ABSENT if other is None else _plain(other)
            yield Difference(new.key, name, (), before, after, cast(Step, there))
        else:
            for path, before, after, context in _walk(one, other, ()):
                yield Difference(new.key, _name(other, new.steps), path, before, after, context)


def _name(step: Step, steps: Sequence[Step]) -> str:
    return step.name or str(next(place for place, one in enumerate(steps, 1) if one is step))


def _pairs(old: Sequence[Step], new: Sequence[Step]) -> Iterator[tuple[Step | None, Step | None]]:
    """Steps that are the same one before and after; None where there is none."""
    named = {one.name: one for one in old if one.name}
    for step in new:
        if step.name:
            yield named.pop(step.name, None), step
    for step in named.values():
        yield step, None
    plain = [[one for one in steps if not one.name] for steps in (old, new)]
    texts = [[repr(_plain(one)) for one in steps] for steps in plain]
    for kind, i, j, k, m in SequenceMatcher(None, texts[0], texts[1], autojunk=False).get_opcodes():
        if kind != "equal":
            before, after = plain[0][i:j], plain[1][k:m]
            yield from zip(before, after, strict=False)
            yield from ((one, None) for one in before[len(after) :])
            yield from ((None, one) for one in after[len(before) :])


Found = tuple[tuple[str, ...], Any, Any, Definition]


def _walk(
    old: Definition, new: Definition, path: tuple[str, ...], *, skip: tuple[str, ...] = ()
) -> Iterator[Found]:
    """Differences between two definitions of one kind."""
    for name in type(new).model_fields:
        if name not in skip:
            yield from _compare(getattr(old, name), getattr(new, name), (*path, name), new)


def _compare(old: Any, new: Any, path: tuple[str, ...], context: Definition) -> Iterator[Found]:
    if isinstance(new, Definition) and type(old) is type(new):
        yield from _walk(old, new, path)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        before, after = cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", new)
        for key in dict.fromkeys((*after, *before)):
            yield from _compare(before.get(key, ABSENT), after.get(key, ABSENT), (*path, key), context)
    elif (before_ := _plain(old)) != (after_ := _plain(new)):
        yield path, before_, after_, context


def _plain(value: Any) -> Any:
    """A value as JSON would have it; a function by its name and a hash of its code."""
    if isinstance(value, Absent) or value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Definition):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in cast("list[Any]", value)]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return format_duration(value)
    return _function(value)


def _function(value: Any) -> str:
    name = getattr(value, "__qualname__", type(value).__qualname__)
    code: CodeType | None = getattr(value, "__code__", None)
    meant = repr(None if code is None else _meant(code)).encode()
    return f"function {name} ({crc32(meant):08x})"


def _meant(code: CodeType) -> tuple[Any, ...]:
    """What code does, wherever it stands."""
    inside = [_meant(one) if isinstance(one, CodeType) else one for one in code.co_consts]
    return code.co_code, code.co_names, inside
