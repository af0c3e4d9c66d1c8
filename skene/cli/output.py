"""What commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.definitions.units import format_duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "JsonOption",
    "console",
    "counted",
    "duration",
    "examples",
    "instant",
    "limit_as_json",
    "money",
    "print_json",
    "say",
    "shown_limit",
    "table",
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_PIPE_WIDTH = 120
# What Stripe counts in other than hundredths.
_WHOLE = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
_THOUSANDTHS = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))


def examples(*lines: str, codes: str = "", wrong: str = "") -> str:
    """The end of a command's help: examples, and what its exit codes mean beyond the usual.

    Args:
        lines: complete commands.
        codes: what exit code 1 says about this command.
        wrong: what exit code 2 says, beyond the usual.
    """
    shown = "\n".join(f"  {line}" for line in lines)
    one = codes or "it did not work; standard error says why"
    # \b keeps the lines as they are.
    two = f"the arguments are wrong{wrong and f', {wrong}'}"
    return f"\b\nExamples:\n{shown}\n\n\b\nExit codes:\n  0  done\n  1  {one}\n  2  {two}"


def say(text: str = "") -> None:
    """Write a line to standard output."""
    typer.echo(text)


def print_json(data: Any) -> None:
    """Write data as JSON: instants as ISO 8601, durations as seconds."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def console(*, stderr: bool = False) -> "Console":
    """A rich console that does not break lines of a table when the output is a pipe or a file."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else _PIPE_WIDTH, highlight=False, soft_wrap=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> "Table":
    """A table.

    Args:
        columns: headings.
        rows: texts, one per column.
        numbers: the columns that are set flush right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))  # as text: a name with brackets is not markup
    return made


def instant(at: datetime | None) -> str:
    """An instant for people, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at is not None else "never"


def duration(length: timedelta | None) -> str:
    """A length of time for people."""
    if length is None:
        return "–"
    if length < timedelta(minutes=1):
        return f"{length.total_seconds():.1f}s"
    return format_duration(length)


def counted(number: int, noun: str) -> str:
    """How many there are, for people: `1 route`, `1,200 routes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown_limit(limit: int | None) -> str:
    """Units that a limit admits, for people."""
    return "unlimited" if limit is None else f"{limit:,}"


def limit_as_json(limit: int | None) -> int | str:
    """The same as data, as loops write it."""
    return "Infinity" if limit is None else limit


def money(revenue: Sequence[tuple[str, int]]) -> str:
    """Amounts in minor units, for people: `20.00 USD`."""
    return ", ".join(_amount(currency, amount) for currency, amount in revenue) or "–"


def _amount(currency: str, amount: int) -> str:
    digits = 0 if currency in _WHOLE else 3 if currency in _THOUSANDTHS else 2
    return f"{amount / 10**digits:,.{digits}f} {currency.upper()}"
