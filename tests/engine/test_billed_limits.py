"""Limits that are paid for by use, compiled and decided."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skene import Decision, Loop, Reason, action, billed, condition, define_loop, step
from skene.definitions import Billed
from skene.engine.decide import decide
from skene.engine.program import Program, compile_loops

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PAID = billed(included=1000, meter="api_calls", cap=5000)


def loop(paid: Any = PAID, *, name: str | None = None, **options: Any) -> Loop:
    usage = condition.usage(limit={"free": 100, "paid": paid}, period="30d", meter="calls")
    return define_loop(
        type="freemium", name=name, steps=[step(condition=usage, action=action.block("Upgrade!"))], **options
    )


def program(*loops: Loop, **options: Any) -> Program:
    made, faults = compile_loops(loops, **options)
    assert faults == ()
    return made


def decided(used: int, *, cap: int | None = 5000, fits: bool = True, **options: Any) -> Decision:
    (one,) = program(loop(billed(included=1000, meter="api_calls", cap=cap), **options)).steps
    return decide(
        one,
        subject="ada",
        plan="paid",
        limit=one.counted_limits["paid"],
        used=used,
        cost=1,
        start=NOW,
        end=NOW + timedelta(days=30),
        fits=fits,
        admitted=fits,
        replayed=False,
        now=NOW,
    )


def test_the_cap_is_the_limit() -> None:
    (one,) = program(loop()).steps
    assert dict(one.limits) == {"free": 100, "paid": 5000}
    assert dict(one.billed) == {"paid": Billed(included=1000, meter="api_calls", cap=5000)}
    assert one.reported == ("paid",)
    (one,) = program(loop(billed(meter="api_calls"))).steps
    assert dict(one.limits) == {"free": 100, "paid": None}


def test_who_only_watches_bills_nobody() -> None:
    (watching,) = program(loop(enforce=False)).steps
    (switched,) = program(loop(), enforce=False).steps
    assert watching.reported == switched.reported == ()


@pytest.mark.parametrize(("used", "units"), [(0, 0), (999, 0), (1000, 0), (1001, 1), (5000, 4000)])
def test_what_goes_on_the_bill(used: int, units: int) -> None:
    decision = decided(used)
    assert (decision.included, decision.billed_units) == (1000, units)
    assert (decision.reason, decision.limit, decision.remaining) == (Reason.WITHIN_LIMIT, 5000, 5000 - used)
    assert decided(used, cap=None).reason is Reason.UNLIMITED


def test_a_cap_refuses_in_words_of_its_own() -> None:
    decision = decided(5000, fits=False)
    assert not decision.allowed
    assert (decision.reason, decision.status_code) == (Reason.CAP_REACHED, 402)
    assert str(decision.reason) == "spend_cap_reached"
    assert decision.message is not None
    assert "Upgrade" not in decision.message


def test_a_plan_that_is_not_billed_has_nothing_included() -> None:
    (one,) = program(loop()).steps
    decision = decide(
        one,
        subject="ada",
        plan="free",
        limit=100,
        used=100,
        cost=1,
        start=NOW,
        end=NOW,
        fits=False,
        admitted=False,
        replayed=False,
        now=NOW,
    )
    assert (decision.reason, decision.message) == (Reason.LIMIT_REACHED, "Upgrade!")
    assert (decision.included, decision.billed_units) == (None, 0)


def test_those_who_pay_for_nothing_get_no_bill() -> None:
    assert program(loop()).plan_faults(("paid",), "free") == ()
    (fault,) = program(loop()).plan_faults(("free",), "paid")
    assert fault.path == "freemium.steps[0].condition.limit.paid"
    assert "pay for nothing" in fault.given


@pytest.mark.parametrize("other", [billed(included=1, meter="api_calls", cap=5000), 5000])
def test_steps_on_one_meter_agree_on_the_bill(other: Any) -> None:
    _, faults = compile_loops([loop(), loop(other, name="second")])
    assert [fault.path for fault in faults] == ["second.steps[0].condition.meter"]
    assert compile_loops([loop(), loop(name="second")])[1] == ()
