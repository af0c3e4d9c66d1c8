"""Warnings that do not flood."""

import logging
from datetime import timedelta

import pytest

from skene.runtime.quiet import QuietLog
from skene.testing.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def quiet(clock: ManualClock) -> QuietLog:
    return QuietLog(logging.getLogger("skene.test"), clock)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_one_line_a_second_and_a_count_of_the_rest(
    quiet: QuietLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        quiet.warning("away: %s", number)
        clock.advance(timedelta(milliseconds=10)) if number % 10 == 9 else None
    lines = said(caplog)
    assert lines == ["away: 0"]
    clock.advance("1s")
    quiet.warning("away: %s", 1000)
    assert said(caplog)[-1] == "away: 1000 (999 more like this)"
    clock.advance("1s")
    quiet.warning("away: %s", 1001)
    assert said(caplog)[-1] == "away: 1001"


def test_kinds_do_not_silence_each_other(quiet: QuietLog, caplog: pytest.LogCaptureFixture) -> None:
    quiet.warning("one %s", 1)
    quiet.warning("two %s", 1)
    assert said(caplog) == ["one 1", "two 1"]


def test_a_clock_that_steps_back_silences_nothing(
    quiet: QuietLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    quiet.warning("away")
    clock.advance(timedelta(hours=-1))
    quiet.warning("away")
    assert len(said(caplog)) == 2


def test_an_error_has_its_traceback(quiet: QuietLog, caplog: pytest.LogCaptureFixture) -> None:
    quiet.error("it failed: %s", 7, error=ValueError("why"))
    assert said(caplog) == ["it failed: 7"]
    assert "ValueError: why" in caplog.text
