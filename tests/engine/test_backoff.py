"""How long to wait before another attempt: full jitter within its bounds."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from skene import Recovery
from skene.engine.backoff import next_delay

chances = st.floats(0, 1, exclude_max=True)
failures = st.integers(1, 120)
seconds = st.integers(1, 600).map(lambda n: timedelta(seconds=n))


@given(base=seconds, more=seconds, failed=failures, chance=chances)
def test_full_jitter_lies_between_zero_and_the_doubled_base_or_the_cap(
    base: timedelta, more: timedelta, failed: int, chance: float
) -> None:
    recovery = Recovery(retries=100, base=base, cap=base + more)
    wait = next_delay(recovery, failed, chance=chance)
    if failed > 100:
        assert wait is None
        return
    assert wait is not None
    ceiling = min(recovery.cap.total_seconds(), recovery.base.total_seconds() * 2 ** (failed - 1))
    assert 0 <= wait.total_seconds() <= ceiling
    # The whole span is used, and evenly: the wait is the chance's share of it.
    assert abs(wait.total_seconds() - ceiling * chance) < 1e-5


@given(failed=st.integers(1, 100), low=chances, high=chances)
def test_more_chance_is_more_wait(failed: int, low: float, high: float) -> None:
    recovery = Recovery(retries=100)
    waits = [next_delay(recovery, failed, chance=c) for c in sorted((low, high))]
    assert waits[0] is not None
    assert waits[1] is not None
    assert waits[0] <= waits[1]


@given(retries=st.integers(0, 100), failed=failures, chance=chances)
def test_retries_are_additional_attempts(retries: int, failed: int, chance: float) -> None:
    wait = next_delay(Recovery(retries=retries), failed, chance=chance)
    assert (wait is None) == (failed > retries)


def test_no_retries_is_one_attempt() -> None:
    assert next_delay(Recovery(retries=0), 1, chance=0.5) is None


@given(failed=st.integers(1, 5), chance=chances, wish=seconds)
def test_never_sooner_than_the_provider_asked(failed: int, chance: float, wish: timedelta) -> None:
    recovery = Recovery(retries=5)
    own = next_delay(recovery, failed, chance=chance)
    asked = next_delay(recovery, failed, chance=chance, retry_after=wish)
    assert own is not None
    assert asked == max(own, wish)


@given(failed=st.integers(1, 100), chance=chances)
def test_a_fixed_backoff_is_fixed(failed: int, chance: float) -> None:
    recovery = Recovery(retries=100, backoff="fixed", base="7s", cap="1h")
    assert next_delay(recovery, failed, chance=chance) == timedelta(seconds=7)


@given(failed=st.integers(1, 100), chance=chances)
def test_a_linear_backoff_lengthens_by_its_base_up_to_the_cap(failed: int, chance: float) -> None:
    recovery = Recovery(retries=100, backoff="linear", base="7s", cap="1m")
    wait = next_delay(recovery, failed, chance=chance)
    assert wait is not None
    assert abs(wait.total_seconds() - min(60, 7 * failed) * chance) < 1e-5


def test_the_defaults_are_one_second_doubling_up_to_five_minutes() -> None:
    recovery = Recovery(retries=100)
    nearly = 1 - 2**-53
    waits = [next_delay(recovery, n, chance=nearly) for n in (1, 2, 3, 9, 10, 100)]
    assert [w and round(w.total_seconds(), 3) for w in waits] == [1, 2, 4, 256, 300, 300]
