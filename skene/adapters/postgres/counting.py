"""The calls of the functions in `0006_together.postgresql.sql`: what goes in, and what comes out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from skene.adapters.sql.types import to_text
from skene.engine.window import Anchored, Edges, Rolling, WindowRule
from skene.errors import IdempotencyConflict
from skene.ports.counters import Charge, Consume, Counted, Receipt, Tally

__all__ = ["MOST", "Queries", "Shape", "Shapes", "consume_arguments", "counted", "refund_arguments"]

MOST = 2**63 - 1
"""The greatest number a column holds."""

_SHAPES = 4096
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Queries:
    """The statements. `prefix` is the schema's name and a dot, or nothing.

    Attributes:
        plain: ordinary calls on any number of counters, each counter once; see `flights.Flights`.
        one: one call of any kind, which `consume_arguments` are for.
        alone: the same, and waits longer for a lock.
        many: the same for several; its rows begin with the number of their call.
        refund: what `refund_arguments` are for.
    """

    plain: str
    one: str
    alone: str
    many: str
    refund: str

    @classmethod
    def under(cls, prefix: str) -> "Queries":
        """Those of one schema."""
        # As text: what an application makes of jsonb on its connections is its own affair.
        call = "($1, $2, $3::text::jsonb, $4, $5, $6, $7)"
        plain = "($1, $2, $3, $4, $5, $6, $7::text[]::jsonb[], $8, $9, $10)"
        several = "($1, $2, $3, $4, $5, $6, $7)"
        start = f"SELECT * FROM {prefix}skene_"  # noqa: S608 - a quoted name
        return cls(
            plain=f"{start}charge_plain_v1{plain}",
            one=f"{start}consume_v4{call}",
            alone=f"{start}consume_v3{call}",
            many=f"{start}consume_many_v3{several}",
            refund=f"SELECT {prefix}skene_refund_v3{several}",
        )


class Shape:
    """What all calls of a step on one counter have in common, as the database is told it.

    Attributes:
        charge: one of these calls' charges.
        default_plan: of these calls.
        text: all of a charge but its cost, as the inside of a JSON object.
        limits: the limits by plan as JSON.
        edges: where windows begin, as an array's text; None where their lengths say all.
        plain: the ordinary way knows such calls: what they are compared with lies in one row.
    """

    __slots__ = ("charge", "default_plan", "edges", "limits", "plain", "text")

    def __init__(self, charge: Charge, default_plan: str) -> None:
        self.charge = charge
        self.default_plan = default_plan
        self.text = _unchanging(charge)
        self.limits = json.dumps(dict(charge.limits))
        rule = charge.rule
        self.edges: str | None = None
        if isinstance(rule, Edges):
            self.edges = f"{{{','.join(to_text(edge) for edge in rule.edges)}}}"
        one_row = isinstance(rule, Anchored) or (isinstance(rule, Edges) and not rule.billing_cycle)
        self.plain = one_row and charge.feature is None and not charge.billed

    def is_of(self, charge: Charge) -> bool:
        """Whether a charge with the same step and meter is like these."""
        mine = self.charge
        return mine is charge or (
            (mine.limits is charge.limits or mine.limits == charge.limits)
            and (mine.rule is charge.rule or mine.rule == charge.rule)
            and mine.feature == charge.feature
            and mine.billed == charge.billed
            and mine.watched == charge.watched
        )


class Shapes:
    """Remembers the shapes of the calls that are made again and again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], Shape] = {}

    def of(self, charge: Charge, default_plan: str) -> Shape:
        """The shape of a charge; made anew when its step has changed, as months do."""
        key = (charge.step, charge.meter, default_plan)
        shape = self._known.get(key)
        if shape is None or not shape.is_of(charge):
            if len(self._known) >= _SHAPES:  # counters of single members and routes come and go
                self._known.clear()
            shape = self._known[key] = Shape(charge, default_plan)
        return shape


def consume_arguments(
    call: Consume, shapes: Shapes, now: datetime | None, *, spend: bool
) -> tuple[object, ...]:
    """The parameters of a call. `now` is None for the server's own clock."""
    texts = [
        f'{{"cost":{min(charge.cost, MOST)},{shapes.of(charge, call.default_plan).text}}}'
        for charge in call.charges
    ]
    key, fingerprint = call.idempotency_key, call.fingerprint
    return call.subject, call.default_plan, f"[{','.join(texts)}]", key, fingerprint, now, spend


def counted(call: Consume, rows: Sequence[Sequence[Any]]) -> Counted:
    """The answer in the port's words.

    Args:
        call: what was asked.
        rows: one for each charge, without the number that rows of `Queries.many` begin with.

    Raises:
        IdempotencyConflict: the key was admitted before with another fingerprint.
    """
    outcome, now, plan, held_plan, customer, checked_at, subject = rows[0][:7]
    if outcome == "conflict":
        raise IdempotencyConflict("this idempotency key was used for a different request")
    replayed = outcome == "replayed"
    tallies: list[Tally] = []
    for charge, row in zip(call.charges, rows, strict=True):
        limit, granted, used, fits, start, end, notices, wall, charged_plan, charged_at = row[7:]
        receipt = Receipt(charge.meter, charged_plan, charged_at, charge.cost) if charged_at else None
        fits = fits or replayed
        named = tuple(notices) if notices else ()
        tallies.append(Tally(charge, limit, used, fits, start, end, named, wall, receipt, granted))
    admitted = outcome != "refused"
    return Counted(admitted, replayed, now, plan, held_plan, customer, checked_at, tuple(tallies), subject)


def refund_arguments(
    subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None, now: datetime | None
) -> tuple[object, ...]:
    """The parameters of a refund. `now` is None for the server's own clock."""
    return (
        subject,
        [receipt.meter for receipt in receipts],
        [receipt.plan for receipt in receipts],
        [receipt.at for receipt in receipts],
        [min(receipt.cost, MOST) for receipt in receipts],
        idempotency_key,
        now,
    )


def _unchanging(charge: Charge) -> str:
    fields: dict[str, object] = {
        "step": charge.step,
        "meter": charge.meter,
        "limits": dict(charge.limits),
        "rule": _rule(charge.rule),
    }
    if charge.feature is not None:
        fields["feature"] = charge.feature
    if charge.billed:
        fields["billed"] = charge.billed
    if charge.watched:
        fields["watched"] = True
    return json.dumps(fields)[1:-1]


def _rule(rule: WindowRule) -> dict[str, object]:
    match rule:
        case Anchored(length):
            return {"kind": "anchored", "length": length // _MICROSECOND}
        case Rolling(length):
            part = rule.part // _MICROSECOND
            return {"kind": "rolling", "length": length // _MICROSECOND, "part": part}
        case Edges(edges, cycle):
            return {"kind": "edges", "edges": [to_text(edge) for edge in edges], "cycle": cycle}
