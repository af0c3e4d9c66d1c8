"""Writes the page: every bar, whether it is met, and the figures behind it."""

from collections.abc import Mapping, Sequence

from tests.benchmarks.frame.measuring import Spread
from tests.benchmarks.frame.results import Bar, Result, Section, Table

__all__ = ["number", "page", "shown", "table"]


def page(
    head: str,
    bars: Sequence[Bar],
    headings: Mapping[str, str],
    sections: Mapping[str, Section],
    notes: Mapping[str, str],
) -> str:
    """The whole page as Markdown.

    Args:
        head: what stands above everything.
        bars: the rows that must be there.
        headings: groups with their headings, in order.
        sections: what was measured, by group; a group that is missing was not measured.
        notes: by key of a bar, what is to be said of its row.

    Raises:
        ValueError: a note is about no row.
    """
    astray = sorted(set(notes) - {bar.key for bar in bars})
    if astray:
        raise ValueError(f"notes about no row: {', '.join(astray)}")
    results = {result.key: result for section in sections.values() for result in section.results}
    parts = [head, "## What it must show\n", table(["", "bar", "median", "lowest – highest", "rounds", ""],
        [_row(bar, results.get(bar.key), sections.get(bar.group)) for bar in bars])]  # fmt: skip
    parts += _explanations(bars, results, notes)
    for group, heading in headings.items():
        parts.append(f"## {heading}\n")
        section = sections.get(group)
        parts += _told(section) if section else ["Not measured yet.\n"]
    return "\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        + "\n"
    )


def number(value: float) -> str:
    """Three digits that matter, and thousands told apart."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"


def shown(spread: Spread | None, unit: str = "") -> str:
    """A median with its spread, for the tables below the rows."""
    if spread is None:
        return "–"
    return f"{number(spread.median)}{unit} ({number(spread.low)}–{number(spread.high)})"


def _row(bar: Bar, result: Result | None, section: Section | None) -> list[str]:
    unit = bar.unit if bar.unit == "×" else f" {bar.unit}"
    asked = f"{bar.sense} {number(bar.value)}{unit}"
    if result is None or result.spread is None:
        why = "the run failed" if section and section.failure else "not measured yet"
        return [bar.what, asked, "–", "–", "–", (result.reason if result else "") or why]
    spread = result.spread
    between = f"{number(spread.low)} – {number(spread.high)}"
    met = "met" if bar.met(spread) else f"**missed** ([why](#{bar.key}))"
    return [bar.what, asked, f"{number(spread.median)}{unit}", between, str(spread.rounds), met]


def _explanations(bars: Sequence[Bar], results: Mapping[str, Result], notes: Mapping[str, str]) -> list[str]:
    parts: list[str] = []
    for bar in bars:
        result = results.get(bar.key)
        missed = result is not None and result.spread is not None and not bar.met(result.spread)
        if missed or bar.key in notes:
            words = notes.get(bar.key, "Not explained yet.").strip()
            parts.append(f'<a id="{bar.key}"></a>**{bar.what}**\n\n{words}\n')
    return ["### What is to be said of them\n", *parts] if parts else []


def _told(section: Section) -> list[str]:
    facts = ", ".join(f"{name} {value}" if name else value for name, value in section.facts.items())
    parts = [f"{facts}.\n"]
    if section.failure:
        parts.append(f"The run failed: {section.failure}\n")
    return parts + [_figures(one) for one in section.tables]


def _figures(given: Table) -> str:
    text = f"{given.text}\n\n" if given.text else ""
    return f"### {given.title}\n\n{text}{table(given.head, given.rows)}"
