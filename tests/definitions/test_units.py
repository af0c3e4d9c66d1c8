"""Durations and limits."""

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.definitions import (
    UNLIMITED,
    DefinitionError,
    Unlimited,
    format_duration,
    parse_duration,
    parse_limit,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("5m", 300),
        ("12h", 43_200),
        ("30d", 2_592_000),
        ("2w", 1_209_600),
        ("1h30m", 5_400),
        ("30d5h", 2_610_000),
        ("1w1d1h1m1s", 694_861),
        ("90m", 5_400),
        ("3653d", 315_619_200),
    ],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@given(st.integers(1, 3653 * 86_400))
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    length = timedelta(seconds=seconds)
    assert parse_duration(format_duration(length)) == length
    assert parse_duration(length) == length


@pytest.mark.parametrize(
    ("days", "text"), [(1, "1d"), (7, "7d"), (30, "30d"), (1 / 24, "1h"), (1.5 / 24, "1h30m"), (0, "0s")]
)
def test_durations_have_one_canonical_form(days: float, text: str) -> None:
    assert format_duration(timedelta(days=days)) == text


@given(st.text(max_size=50))
def test_any_text_is_a_duration_within_bounds_or_refused(text: str) -> None:
    try:
        length = parse_duration(text)
    except DefinitionError as error:
        hint = error.faults[0].hint
        assert hint is None or parse_duration(hint.strip('"'))
    else:
        assert timedelta(seconds=1) <= length <= timedelta(days=3653)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("30 minutes", '"30m"'),
        ("2 hrs", '"2h"'),
        ("45 secs", '"45s"'),
        ("1 year", '"365d"'),
        ("daily", '"1d"'),
        ("x", None),
    ],
)
def test_what_was_meant_is_guessed(text: str, hint: str | None) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_duration(text)
    assert caught.value.faults[0].hint == hint
    assert str(caught.value).startswith(
        f'the value has 1 fault:\n  got "{text}" (str); give a duration such as "30d"'
    )


@pytest.mark.parametrize("value", [UNLIMITED, math.inf, "Infinity", "unlimited"])
def test_no_limit_has_four_spellings(value: Any) -> None:
    assert parse_limit(value) is UNLIMITED


@pytest.mark.parametrize("value", [0, 1, 100, 2**63 - 1])
def test_limits_are_whole_numbers(value: int) -> None:
    assert parse_limit(value) == value


def test_unlimited_is_one_value() -> None:
    assert repr(UNLIMITED) == "UNLIMITED"
    assert list(Unlimited) == [UNLIMITED]
    assert UNLIMITED.value == "Infinity"
