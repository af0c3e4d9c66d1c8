"""The calls of the functions in `0004_counting.postgresql.sql`: what goes in, and what comes out."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from skene.adapters.sql.types import to_text
from skene.engine.window import Anchored, Edges, Rolling, WindowRule
from skene.errors import IdempotencyConflict
from skene.ports.counters import Charge, Consume, Counted, Receipt, Tally

__all__ = [
    "consume_arguments",
    "consume_many_arguments",
    "consume_many_query",
    "consume_query",
    "counted",
    "flight_order",
    "refund_arguments",
    "refund_query",
]

MOST = 2**63 - 1
"""The greatest number a column holds."""

_MICROSECOND = timedelta(microseconds=1)


def consume_query(prefix: str) -> str:
    """The statement that `consume_arguments` are for. `prefix` is the schema's name and a dot, or nothing."""
    # As text: what an application makes of jsonb on its connections is its own affair.
    return f"SELECT * FROM {prefix}skene_consume_v3($1, $2, $3::text::jsonb, $4, $5, $6, $7)"  # noqa: S608 (a quoted name)


def consume_many_query(prefix: str) -> str:
    """The statement that `consume_many_arguments` are for; its rows begin with the number of their call."""
    return f"SELECT * FROM {prefix}skene_consume_many_v3($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608 (a quoted name)


def flight_order(calls: Sequence[Consume]) -> list[int]:
    """The places of some calls in the order in which they lock their rows: the same in every process.

    Calls on the same counter keep the order they arrived in. A subject with a call on several counters at
    once keeps it for all of its calls: should two processes meet the wrong way round, the lock's time-out
    and the repetition one by one settle it.
    """
    several = {call.subject for call in calls if len(call.charges) > 1}
    locks = [(call.subject, "" if call.subject in several else call.charges[0].meter) for call in calls]
    return sorted(range(len(calls)), key=locks.__getitem__)


def consume_many_arguments(arguments: Sequence[tuple[object, ...]]) -> tuple[object, ...]:
    """The parameters of several calls, from those of each; they share the clock, and all of them spend."""
    *columns, nows, spends = zip(*arguments, strict=True)
    return *map(list, columns), nows[0], spends[0]


def refund_query(prefix: str) -> str:
    """The statement that `refund_arguments` are for."""
    return f"SELECT {prefix}skene_refund_v3($1, $2, $3, $4, $5, $6, $7)"


def consume_arguments(call: Consume, now: datetime | None, *, spend: bool) -> tuple[object, ...]:
    """The parameters of a call. `now` is None for the server's own clock."""
    charges = ",".join([_charge(charge) for charge in call.charges])
    key, fingerprint = call.idempotency_key, call.fingerprint
    return call.subject, call.default_plan, f"[{charges}]", key, fingerprint, now, spend


def counted(call: Consume, rows: Sequence[Sequence[Any]]) -> Counted:
    """The answer in the port's words.

    Args:
        call: what was asked.
        rows: one for each charge, without the number that rows of `consume_many_query` begin with.

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
        tallies.append(Tally(charge, limit, used, fits, start, end, tuple(notices), wall, receipt, granted))
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


def _charge(charge: Charge) -> str:
    limits = tuple(charge.limits.items())
    more = (charge.feature, charge.billed, charge.watched)
    rest = _unchanging(charge.step, charge.meter, limits, charge.rule, *more)
    return f'{{"cost":{min(charge.cost, MOST)},{rest}}}'


@lru_cache(maxsize=512)
def _unchanging(
    step: str,
    meter: str,
    limits: tuple[tuple[str, int | None], ...],
    rule: WindowRule,
    feature: str | None,
    billed: tuple[str, ...],
    watched: bool,
) -> str:
    """All of a charge but its cost: the same for every call, until the next month or so."""
    fields: dict[str, object] = {"step": step, "meter": meter, "limits": dict(limits), "rule": _rule(rule)}
    if feature is not None:
        fields["feature"] = feature
    if billed:
        fields["billed"] = billed
    if watched:
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
