"""Schedules in cron's five fields: what is read, what is refused with the nearest that is allowed."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given
from hypothesis import strategies as st

from skene.definitions import DefinitionError
from skene.definitions.cron import cron_warning, read_cron


def refusal(value: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        read_cron(value)
    (fault,) = caught.value.faults
    return str(fault)


@pytest.mark.parametrize(
    "text",
    [
        "0 9 * * *",
        "*/15 * * * *",
        "0 9 * * MON-FRI",
        "0 9 * jan,Jul sun",
        "0,30 8-18/2 1-7 * 7",
        "5/15 * * * *",
        "59 23 31 12 6",
        "0 0 29 2 *",
        "0 0 30 * *",
        "* * * * *",
        "00 09 01 * *",
    ],
)
def test_a_schedule_is_kept_as_written(text: str) -> None:
    assert read_cron(text) == text


def test_gaps_between_fields_are_one_space() -> None:
    assert read_cron("  0  9\t* * *\n") == "0 9 * * *"


@pytest.mark.parametrize(
    ("text", "allowed", "near"),
    [
        # how many fields
        ("", "give five fields, minute hour day-of-month month day-of-week", None),
        ("   ", "there are 0", None),
        ("0 9 * *", "five fields", "0 9 * * *"),
        ("0 0 9 * * *", "there are 6", "0 9 * * *"),
        ("30 0 9 * * *", "there are 6", None),
        ("9 * *", "there are 3", None),
        ("0 61 9 * * *", "there are 6", "59 9 * * *"),
        # nicknames
        ("@daily", "five fields", "0 0 * * *"),
        ("@DAYLY", "five fields", "0 0 * * *"),
        ("@hourly", "five fields", "0 * * * *"),
        ("@reboot", "five fields", None),
        # numbers out of range
        ("60 * * * *", 'give minutes from 0 to 59, not "60"', "0 * * * *"),
        ("75 * * * *", 'not "75"', "59 * * * *"),
        ("0 24 * * *", "hours from 0 to 23", "0 0 * * *"),
        ("0 0 0 * *", "days of the month from 1 to 31", "0 0 1 * *"),
        ("0 0 1 13 *", "months from 1 to 12 or JAN to DEC", "0 0 1 1 *"),
        ("0 0 * * 8", "days of the week from 0 to 7 or SUN to SAT", "0 0 * * 0"),
        ("0 9-24 * * *", 'not "9-24"', "0 9-23 * * *"),
        ("0 0 * * MON-FRY", "days of the week", "0 0 * * MON-FRI"),
        ("0 0 * * MON-XYZ", "days of the week", None),
        ("0-70/5 * * * *", "minutes", "0-59/5 * * * *"),
        ("0 0 * * MONDAY", "days of the week", "0 0 * * MON"),
        ("1,60 25 * * *", 'not "1,60"', "1,0 23 * * *"),
        ("99999999999999999999 * * * *", "minutes", "59 * * * *"),
        # ranges and steps
        ("5-1 * * * *", "a range of minutes that ascends", "5-59,0-1 * * * *"),
        ("0 0 * * FRI-SUN", "ascends", "0 0 * * 5-6,0"),
        ("0 0 * NOV-FEB *", "ascends", "0 0 * 11-12,1-2 *"),
        ("0 22-2/2 * * *", "ascends", None),
        ("*/0 * * * *", "a step of minutes from 1 to 59", "* * * * *"),
        ("*/90 * * * *", "a step of minutes from 1 to 59", "0 * * * *"),
        ("5-9/5 * * * *", "from 1 to 4", "5 * * * *"),
        ("5/55 * * * *", "from 1 to 54", "5 * * * *"),
        ("59/2 * * * *", "from 1 to 1", "59 * * * *"),
        ("*/ * * * *", "a step", "* * * * *"),
        ("*/x * * * *", "a step", "* * * * *"),
        ("*-5 * * * *", "minutes", None),
        ("1,,2 * * * *", "minutes", None),
        ("-1 * * * *", "minutes", None),
        ("1.5 * * * *", "minutes", None),
        # what only some crons know
        ("0 0 L * *", "days of the month from 1 to 31", None),
        ("0 0 LW * *", "days of the month", None),
        ("0 0 15W * *", "days of the month", "0 0 15 * *"),
        ("0 0 * * 5L", "days of the week", "0 0 * * 5"),
        ("0 0 * * 5#6", "days of the week", None),
        ("0 0 * * 1#2", "days of the week", None),
        ("0 0 ? * 1", "days of the month", "0 0 * * 1"),
        ("H * * * *", "minutes", None),
        # other scripts
        ("０ ９ * * *", "in ASCII", "0 9 * * *"),
        ("٠ ٩ * * *", "in ASCII", "0 9 * * *"),
        ("٦٠ * * * *", "in ASCII", "0 * * * *"),
        ("0 9 * * ☃", "in ASCII", None),
        # days that never come
        ("0 0 30 2 *", "a day that some year has", "0 0 28 2 *"),
        ("0 0 31 4,JUN *", "a day that some year has", "0 0 30 4,JUN *"),
        ("0 0 30-31 2,2 */2", "a day that some year has", "0 0 28 2,2 */2"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_nearest_that_is(
    text: str, allowed: str, near: str | None
) -> None:
    told = refusal(text)
    assert allowed in told
    suggested = re.search(r'did you mean "(.*)"\?$', told)
    assert (suggested and suggested[1]) == near
    if near is not None:
        assert read_cron(near) == near


@pytest.mark.parametrize("value", [None, 5, True, ["0 9 * * *"], b"0 9 * * *"])
def test_only_text_is_read(value: Any) -> None:
    assert "five fields" in refusal(value)


def test_long_text_is_not_even_looked_at() -> None:
    assert "got text of 100,009 characters" in refusal("0 9 * * *" + " " * 100_000)
    assert "200 characters at most" in refusal(",".join("0" * 101) + " 9 * * *")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 9 * * *", None),
        ("0 9 1 * *", None),
        ("0 9 * * 1", None),
        ("0 9 13 * FRI", "either"),
        ("0 9 */2 * FRI", "both"),
        ("0 9 1-7 * */2", "both"),
    ],
)
def test_two_kinds_of_day_at_once_are_worth_a_warning(text: str, said: str | None) -> None:
    told = cron_warning(text)
    assert told is None if said is None else told is not None and said in told and text in told


FIELD = st.text(st.sampled_from("0123456789*/-,LW#?@ JANMONsu"), max_size=8)


@given(st.lists(FIELD, min_size=4, max_size=6).map(" ".join) | st.text(max_size=40))
def test_any_text_is_read_or_refused_and_what_is_read_is_cron(text: str) -> None:
    try:
        read = read_cron(text)
    except DefinitionError as error:
        for fault in error.faults:
            hint = re.fullmatch(r'"(.*)"', fault.hint or '"* * * * *"')
            assert hint
            assert read_cron(hint[1])
        return
    try:
        CronSim(read, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise AssertionError(read) from error
