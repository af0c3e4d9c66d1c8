"""Looking for what must not be told: in logs, errors, what objects say of themselves, and dumps."""

import base64
import gc
import json
import logging
import traceback
import types
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

__all__ = ["Everything", "everything_logged", "forms", "hits", "objects_of_skene", "said_by", "told"]


def forms(needle: str) -> frozenset[str]:
    """A text in the ways in which it may be written down."""
    raw = needle.encode()
    # What base64 makes of it depends on what stands before it; the ends depend on what is around it.
    coded = {base64.b64encode(b"\0" * at + raw).decode()[4:-4] for at in (1, 2, 3)}
    coded |= {text.replace("+", "-").replace("/", "_") for text in coded}
    written = {needle, needle.lower(), json.dumps(needle)[1:-1], quote(needle), quote(needle, safe="")}
    return frozenset(written | coded | {raw.hex(), repr(needle)[1:-1]})


def hits(needles: Mapping[str, str], said: Mapping[str, str]) -> list[str]:
    """What of the needles, by name, is found where: `the password, in the log`."""
    found = {name: forms(needle) for name, needle in needles.items()}
    return [
        f"{name}, in {where}"
        for where, text in said.items()
        for name, written in found.items()
        if any(one in text for one in written)
    ]


class Everything(logging.Handler):
    """Keeps all that is logged, with arguments and tracebacks."""

    def __init__(self) -> None:
        super().__init__(level=0)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)r"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    @property
    def loggers(self) -> set[str]:
        """Who has said something: the first part of each name."""
        return {line.split(" ")[0].split(".")[0] for line in self.lines}


@contextmanager
def everything_logged() -> Generator[Everything]:
    """Every logger at its lowest level, whatever it is set to, until the end."""
    root, kept = logging.getLogger(), Everything()
    known = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, one.level, one.propagate, one.disabled) for one in [root, *known]]
    for one in known:
        one.setLevel(logging.NOTSET)
        one.propagate, one.disabled = True, False
    for name in ("sqlalchemy.engine", "sqlalchemy.pool"):  # what rows hold, too
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.setLevel(1)
    root.addHandler(kept)
    try:
        yield kept
    finally:
        root.removeHandler(kept)
        for one, level, propagate, disabled in before:
            one.setLevel(level)
            one.propagate, one.disabled = propagate, disabled


def told(error: BaseException) -> str:
    """All that an error tells: words, traceback, causes; not the values of variables."""
    parts = ["".join(traceback.format_exception(error))]
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        parts += [repr(one), str(one), repr(one.args)]
        waiting += [one.__cause__, one.__context__]
        inside: tuple[BaseException, ...] = getattr(one, "exceptions", ())
        waiting += inside
    return "\n".join(parts)


def objects_of_skene(*roots: object) -> Iterator[object]:
    """Every object of a class of skene's that can be reached."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, types.ModuleType | type | types.FrameType | types.CodeType):
            continue
        seen.add(id(one))
        if isinstance(one, types.FunctionType):  # all of its module could be reached through it
            waiting += [*(one.__closure__ or ()), *(one.__defaults__ or ())]
            continue
        if type(one).__module__.startswith("skene."):
            yield one
        waiting += gc.get_referents(one)


def said_by(*roots: object) -> dict[str, str]:
    """What all of these say of themselves."""
    said: dict[str, str] = {}
    for one in objects_of_skene(*roots):
        name = f"{type(one).__module__}.{type(one).__qualname__}"
        said[name] = f"{said.get(name, '')}\n{one!r}\n{one}"
    return said
