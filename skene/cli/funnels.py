"""The funnel in words, as JSON and as a sheet."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from skene.cli.sheets import Cell

if TYPE_CHECKING:
    from skene.engine.lift import Lift
    from skene.ports.ledger import FunnelRow

__all__ = ["SHEET", "lifts_in_words", "row_as_json", "sheet_rows"]

_COUNTS = (
    *("walls", "subjects", "prompts", "clicks", "checkouts", "conversions", "paid_subjects"),
    *("reconversions", "churned", "held_out", "held_out_subjects", "held_out_conversions"),
    *("held_out_paid_subjects", "journeys", "journey_subjects", "goals", "goal_subjects"),
    *("held_out_journeys", "held_out_journey_subjects", "held_out_goals", "held_out_goal_subjects"),
)
_TIMES = {"median_seconds_to_pay": "median_time_to_pay", "median_seconds_to_goal": "median_time_to_goal"}
_MONEY = ("currency", "revenue", "refunded")
SHEET = ("period", "loop", *_COUNTS, *_TIMES, *_MONEY)
"""The columns of the CSV. New ones may be added; none of these is renamed."""


def lifts_in_words(row: "FunnelRow", *, with_goal: bool) -> Iterator[str]:
    """What asking has brought about, a line for payments and one for goals, where there are two groups."""
    name = f"{row.loop}, from {row.period:%Y-%m-%d}" if row.period else row.loop
    if row.lift is not None:
        yield f"{name}, paid: {_in_words(row.lift)}"
    if with_goal and row.goal_lift is not None:
        yield f"{name}, reached the goal: {_in_words(row.goal_lift)}"


def _in_words(lift: "Lift") -> str:
    shares = f"asked {_share(lift.rate)} vs left alone {_share(lift.base)}"
    sure = f"(95 %: {_points(lift.low)} to {_points(lift.high)})"
    doubt = "" if lift.certain else "; the groups are too small to tell whether asking changes anything"
    return f"{shares}: {_points(lift.difference)} points {sure}{doubt}"


def _share(share: float) -> str:
    return f"{share * 100:.1f} %"


def _points(difference: float) -> str:
    text = f"{difference * 100:+.1f}"
    return f"−{text[1:]}" if text.startswith("-") else text


def row_as_json(row: "FunnelRow") -> dict[str, Any]:
    """All of a row's figures."""
    return {
        "period": row.period,
        "loop": row.loop,
        **{name: getattr(row, name) for name in _COUNTS},
        **{name: getattr(row, field) for name, field in _TIMES.items()},
        "revenue": dict(row.revenue),
        "refunded": dict(row.refunded),
        "lift": _lift_as_json(row.lift),
        "goal_lift": _lift_as_json(row.goal_lift),
    }


def _lift_as_json(lift: "Lift | None") -> dict[str, float] | None:
    names = ("rate", "base", "difference", "low", "high")
    return None if lift is None else {name: getattr(lift, name) for name in names}


def sheet_rows(rows: Sequence["FunnelRow"]) -> Iterator[list[Cell]]:
    """A line for each row. One with several currencies has further lines that say only what is of money.

    So every column can be summed up.
    """
    for row in rows:
        revenue, refunded = dict(row.revenue), dict(row.refunded)
        currencies = sorted({*revenue, *refunded})
        figures: list[Cell] = [getattr(row, name) for name in (*_COUNTS, *_TIMES.values())]
        amounts: Sequence[Sequence[Cell]] = [
            [one, revenue.get(one, 0), refunded.get(one, 0)] for one in currencies
        ]
        for index, money in enumerate(amounts or [[None, None, None]]):
            counts: Sequence[Cell] = figures if index == 0 else [None] * len(figures)
            yield [row.period, row.loop or "", *counts, *money]
