"""Loops with faults: all of them in one error, without a secret, with the user's own line in sight."""

import math
import traceback
from pathlib import Path
from typing import Any

import pytest

from skene.definitions import (
    UNLIMITED,
    DefinitionError,
    Loop,
    Recovery,
    SkeneError,
    SkeneWarning,
    action,
    billing_cycle,
    calendar,
    condition,
    define_loop,
    load_loop,
    rolling,
    step,
    trigger,
)
from tests.definitions.seeds import FREE, PAID, PERIOD, PROMPT, only_fault, seed_with


def faulty_loop() -> Loop:
    return define_loop(
        type="premium",  # type: ignore[arg-type]  # a fault
        name="",
        steps=[
            step(
                trigger=trigger.api("api/x", method="FETCH"),
                condition=condition.usage(
                    limit={"free": True, "paid": -1}, period=rolling("1 month"), meter="A"
                ),
                action=action.block(
                    "", upgrade_prompt=action.email("../x", provider="", personalization={"k": 1})
                ),  # type: ignore[dict-item]  # a fault
                name="one",
            ),
            step(
                condition=condition.usage(limit={}, period=calendar("month", timezone="PST")),
                action=condition.usage(limit={"free": 0}, period=billing_cycle()),  # type: ignore[arg-type]  # a fault
                name="one",
            ),
        ],
        holdout=1.5,
    )


def test_all_faults_of_a_loop_in_code_come_in_one_error() -> None:
    with pytest.raises(DefinitionError) as caught:
        faulty_loop()
    assert [fault.path for fault in caught.value.faults] == [
        "type",
        "name",
        "steps[0].trigger.endpoint",
        "steps[0].trigger.method",
        "steps[0].condition.limit.free",
        "steps[0].condition.limit.paid",
        "steps[0].condition.period.length",
        "steps[0].condition.meter",
        "steps[0].action.message",
        "steps[0].action.upgrade_prompt.provider",
        "steps[0].action.upgrade_prompt.template",
        "steps[0].action.upgrade_prompt.personalization.k",
        "steps[1].condition.limit",
        "steps[1].condition.period.timezone",
        "steps[1].action",
        "steps[1].name",
        "holdout",
    ]
    lines = str(caught.value).splitlines()
    assert lines[0] == "the loop has 17 faults:"
    assert '  steps[0].condition.limit.free: got True (bool); give a whole number ≥ 0 or "unlimited"' in lines
    assert "  steps[1].action: got a value of type UsageCondition; give " in "\n".join(lines)
    assert isinstance(caught.value, SkeneError)
    assert isinstance(caught.value, ValueError)


def test_the_traceback_shows_the_users_line_and_one_of_ours() -> None:
    with pytest.raises(DefinitionError) as caught:
        faulty_loop()
    files = [Path(frame.filename).name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert files == ["test_bad_loops.py", "test_bad_loops.py", "loop.py"]
    assert caught.value.__suppress_context__


def test_a_faulty_part_in_the_wrong_place_is_said_to_be_that() -> None:
    with pytest.raises(DefinitionError) as caught:
        define_loop(
            type="freemium",
            steps=[step(condition=action.block(""), action=trigger.api(""))],  # type: ignore[arg-type]  # faults
        )
    assert [fault.given for fault in caught.value.faults] == ["a faulty BlockAction", "a faulty ApiTrigger"]


def test_a_faulty_part_refuses_any_other_use() -> None:
    part = trigger.api("api/x")
    assert repr(part).startswith('<faulty ApiTrigger: endpoint: got "api/x"')
    with pytest.raises(DefinitionError, match="endpoint: got"):
        _ = part.endpoint
    with pytest.raises(DefinitionError, match="endpoint: got"):
        _ = part.methods
    with pytest.raises(TypeError):
        len(part)  # type: ignore[arg-type]  # it has none
    assert not hasattr(part, "__len__")


def test_recovery_is_refused_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        Recovery(retries=-1, base="1y")
    assert str(caught.value).splitlines()[0] == "Recovery has 2 faults:"
    assert [fault.path for fault in caught.value.faults] == ["retries", "base"]
    assert caught.value.faults[1].hint == '"365d"'


def test_a_misspelt_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="limt"):
        condition.usage(limt={"free": 1}, period="1d")  # type: ignore[call-arg]  # the point
    with pytest.raises(DefinitionError, match="did you mean retries"):
        Recovery(retrys=1)  # type: ignore[call-arg]  # the point


def two_steps(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    base: dict[str, Any] = {"type": "usage", "limit": {"free": 1}, "period": "30d"}
    block = {"type": "block", "message": "No."}
    return {
        "type": "freemium",
        "steps": [
            {"condition": base | first, "action": block},
            {"condition": base | second, "action": block},
        ],
    }


def test_two_steps_of_one_meter_have_one_period() -> None:
    assert load_loop(two_steps({"meter": "x", "period": "60m"}, {"meter": "x", "period": "1h"}))
    assert load_loop(two_steps({"meter": "x"}, {"meter": "y", "period": "1h"}))
    assert load_loop(two_steps({}, {"period": "1h"}))
    fault = only_fault(two_steps({"meter": "x"}, {"meter": "x", "period": "1h"}))
    assert fault == (
        'steps[1].condition.period: got another period than steps[0] has for the meter "x" (str); '
        "give the same period, or another meter"
    )


def test_what_does_not_fit_together_is_reported_with_the_rest() -> None:
    loop = two_steps({"meter": "x", "limit": {"free": -1}}, {"meter": "x", "period": "1h"})
    loop["steps"][0]["name"] = loop["steps"][1]["name"] = "same"
    with pytest.raises(DefinitionError) as caught:
        load_loop(loop)
    assert [fault.path for fault in caught.value.faults] == [
        "steps[0].condition.limit.free",
        "steps[1].name",
        "steps[1].condition.period",
    ]
    assert "the name of steps[0]; give a name that no other step has" in str(caught.value)


def test_a_free_plan_without_a_limit_is_pointed_out_at_the_users_line() -> None:
    with pytest.warns(
        SkeneWarning, match=r"steps\[0\].condition.limit.free: the free plan is unlimited"
    ) as caught:
        load_loop(seed_with(FREE, math.inf))
    assert caught[0].filename == __file__
    with pytest.warns(SkeneWarning) as caught:
        define_loop(
            type="freemium",
            steps=[
                step(
                    condition=condition.usage(limit={"free": UNLIMITED}, period="1d"),
                    action=action.block("No."),
                )
            ],
        )
    assert caught[0].filename == __file__


def test_a_free_limit_above_the_paid_one_is_the_users_business() -> None:
    assert load_loop(seed_with(PAID, 1))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("apiKey", "hunter2"),
        (FREE, "sk_live_hunter2hunter2"),
        (PROMPT + ".provider", "whsec_HUNTER2 hunter2"),
        (PROMPT + ".template", "postgresql://app:hunter2@db/x"),
        (PERIOD, {"type": "fixed", "length": "re_hunter2hunter2"}),
        ("steps[0].condition.limit", {"api_key": "hunter2"}),
        (PROMPT + ".personalization", {"secret": 5, "password": ["hunter2"]}),
        (PROMPT + ".personalization", {"token": {"x": "hunter2"}}),
        (PROMPT, ["hunter2"]),
    ],
)
def test_no_message_shows_what_may_be_secret(path: str, value: object) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_loop(seed_with(path, value))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "5 (int)" not in str(caught.value)


def test_long_values_are_shortened() -> None:
    assert f'got "{"x" * 59}…" (str)' in only_fault(seed_with("recovery.base", "x" * 5000))


def test_what_only_equals_a_default_is_not_taken_for_it() -> None:
    with pytest.raises(DefinitionError) as caught:
        define_loop(
            type="freemium",
            steps=[
                step(
                    condition=condition.usage(limit={"free": 1}, period="1d", cost=True),
                    action=action.block("No."),
                )
            ],
            enforce=1,  # type: ignore[arg-type]  # a fault
            holdout=False,
        )
    assert [str(fault).split(";")[0] for fault in caught.value.faults] == [
        "steps[0].condition.cost: got True (bool)",
        "enforce: got 1 (int)",
        "holdout: got False (bool)",
    ]


def test_a_faulty_definition_has_a_code_and_a_page() -> None:
    with pytest.raises(DefinitionError) as caught:
        load_loop({})
    assert caught.value.code == "definition_invalid"
    assert caught.value.docs.endswith("/docs/reference/errors.md#definition_invalid")
