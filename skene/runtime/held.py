"""Counting what is held: on one counter for all plans, against the limit of the plan held now."""

from dataclasses import replace
from typing import Protocol

from skene.engine.program import ALL_PLANS, CompiledStep
from skene.ports.counters import Consume, Counted

__all__ = ["Counting", "count_held", "peek_held", "take_held"]


class Counting(Protocol):
    """The two verbs that count."""

    async def consume(self, call: Consume, step: CompiledStep | None) -> Counted:
        """As `ports.counters.Counters.consume`; with the step, where it is one alone."""
        ...

    async def peek(self, call: Consume) -> Counted:
        """As `ports.counters.Counters.peek`."""
        ...


async def peek_held(counters: Counting, call: Consume) -> Counted:
    """What `count_held` would answer now. Asks twice: for the plan, and then for what is held."""
    known = await counters.peek(replace(call, idempotency_key=None))
    return _told(await counters.peek(_of_all_plans(call, known.plan)), known)


async def count_held(counters: Counting, call: Consume) -> Counted:
    """Charge a call of a gauge.

    The plan is the one of a moment ago: whoever changes it in between is held to the limit of either. The
    count itself is one atomic step, so no limit is ever passed.
    """
    known = await counters.peek(replace(call, idempotency_key=None))
    return _told(await counters.consume(_of_all_plans(call, known.plan), None), known)


async def take_held(counters: Counting, call: Consume) -> None:
    """Charge a call of a gauge, over its limit if need be."""
    (charge,) = call.charges
    free = replace(charge, limits={ALL_PLANS: None}, watched=True)
    await counters.consume(replace(call, default_plan=ALL_PLANS, charges=(free,)), None)


def _of_all_plans(call: Consume, plan: str) -> Consume:
    """The call as the storage counts it: for everybody on the one plan that all counts are kept under."""
    (charge,) = call.charges
    limit = charge.limits[plan]
    return replace(call, default_plan=ALL_PLANS, charges=(replace(charge, limits={ALL_PLANS: limit}),))


def _told(counted: Counted, known: Counted) -> Counted:
    return replace(counted, plan=known.plan, held_plan=known.held_plan)
