"""What triggers of PostgreSQL and SQLite share: names, how they are known again, what is not copied."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from skene.definitions.faults import Fault, join, nearest
from skene.engine.rowtrigger import RowTrigger
from skene.engine.secrets import LONGEST_COPY, SECRET, is_secret
from skene.errors import ConfigurationError

__all__ = [
    "LONGEST_COPY",
    "MARK",
    "PLACE",
    "SECRET",
    "Written",
    "column_faults",
    "digest_in",
    "identifier",
    "is_secret",
    "misfit",
    "table_fault",
    "table_parts",
    "trigger_name",
    "written",
]

MARK = "skene trigger "
"""Stands before the digest, in a comment: what bears it is ours."""
PLACE = "\0"
"""Where the digest will be: no name or text in SQL can have this character."""
_TABLE = re.compile(r'("(?:[^"]|"")+"|[^".]+)')
_DIGEST = re.compile(MARK + "([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Written:
    """A trigger's SQL.

    Attributes:
        name: the trigger's.
        digest: tells this form of it from every other.
        statements: in the order in which they have to run.
    """

    name: str
    digest: str
    statements: tuple[str, ...]


def written(name: str, statements: Sequence[str]) -> Written:
    """SQL in which `PLACE` stands for the digest of all of it."""
    digest = sha256("\n".join(statements).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Written(name, digest, tuple(one.replace(PLACE, digest) for one in statements))


def digest_in(text: str | None) -> str | None:
    """The digest in a comment or statement of ours; None if it is not ours."""
    found = _DIGEST.search(text or "")
    return found[1] if found else None


def trigger_name(trigger: RowTrigger) -> str:
    """A name that says what it is for, and that no other step has: `skene_insert_activation_1a2b3c4d`."""
    words = re.sub("[^a-z0-9]+", "_", trigger.step.lower())[:30].strip("_")
    key = "\x1f".join((trigger.step, trigger.table, trigger.event))
    return f"skene_{trigger.event}_{words}_{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def table_parts(table: str) -> tuple[str, ...]:
    """`schema.table` in parts; one in double quotes may contain anything."""
    return tuple(
        part[1:-1].replace('""', '"') if part.startswith('"') else part for part in _TABLE.findall(table)
    )


def identifier(name: str) -> str:
    """A name in double quotes: whatever it is, reserved word or mixed case, it stands for itself."""
    return '"' + name.replace('"', '""') + '"'


def table_fault(trigger: RowTrigger, tables: Iterable[str], *, given: str = "") -> Fault:
    """There is no such table."""
    known = sorted(tables)
    shown = ", ".join(known[:8]) + (f" and {len(known) - 8} more" if len(known) > 8 else "")
    return Fault(
        join(trigger.step, "trigger.table"),
        given or f"{trigger.table!r}, and there is no such table",
        f"one of {shown}" if known else "a table; the database has none",
        nearest(table_parts(trigger.table)[-1] if table_parts(trigger.table) else "", known),
    )


def column_faults(trigger: RowTrigger, columns: Sequence[str]) -> list[Fault]:
    """One for each column that the table does not have."""
    asked = [
        ("subject", trigger.subject),
        *(("columns", name) for name in trigger.columns),
        *(("where", name) for name, _ in trigger.where),
        *(("capture", name) for name in trigger.capture or ()),
    ]
    return [
        Fault(
            join(trigger.step, "trigger", where),
            f"{name!r}, and {trigger.table} has no such column",
            f"one of {', '.join(columns)}",
            nearest(name, columns),
        )
        for where, name in asked
        if name not in columns
    ]


def misfit(faults: Sequence[Fault]) -> ConfigurationError:
    """The error for triggers that do not fit the database."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    lines = [
        f"the triggers do not fit the database: {count}",
        *(f"  {one}" for one in faults),
    ]
    error = ConfigurationError("\n".join(lines))
    error.faults = tuple(faults)
    return error
