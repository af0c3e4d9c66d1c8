"""CSV for spreadsheets and warehouses: columns that stay, money in minor units, nothing that is a formula."""

import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, TypeAlias

import typer

__all__ = ["Cell", "CsvOption", "write_rows", "write_sheet"]

CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")]

Cell: TypeAlias = str | int | float | bool | datetime | timedelta | None

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_sheet(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write CSV to standard output, a line of headings, then the rows.

    Instants are ISO 8601, durations seconds, what is unknown is left empty.
    """
    write_rows([columns])
    write_rows(rows)


def write_rows(rows: Iterable[Sequence[Cell]]) -> None:
    """Write further lines."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in rows:
        writer.writerow([_written(cell) for cell in row])


def _written(cell: Cell) -> str | int | float:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, datetime):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    if isinstance(cell, str) and cell.startswith(_FORMULAS):
        return f"'{cell}"  # a spreadsheet would run it, whoever chose the name
    return cell
