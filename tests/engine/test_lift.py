"""The difference of two shares: published values, properties, and how often the interval is right."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.engine.lift import lift

# R. G. Newcombe, Statistics in Medicine 17 (1998), pages 873 to 890, table II, method 10.
PUBLISHED = [
    ((56, 70, 48, 80), (0.0524, 0.3339)),
    ((9, 10, 3, 10), (0.1705, 0.8090)),
    ((6, 7, 2, 7), (0.0582, 0.8062)),
    ((5, 56, 0, 29), (-0.0381, 0.1926)),
    ((0, 10, 0, 20), (-0.1611, 0.2775)),
    ((0, 10, 0, 10), (-0.2775, 0.2775)),
    ((10, 10, 0, 20), (0.6791, 1.0)),
    ((10, 10, 0, 10), (0.6075, 1.0)),
]


@pytest.mark.parametrize(("groups", "interval"), PUBLISHED)
def test_published_values(groups: tuple[int, int, int, int], interval: tuple[float, float]) -> None:
    found = lift(*groups)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(interval, abs=5e-5)
    assert (found.rate, found.base) == (groups[0] / groups[1], groups[2] / groups[3])


def groups() -> st.SearchStrategy[tuple[int, int, int, int]]:
    size = st.integers(1, 10_000)
    group = size.flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
    return st.tuples(group, group).map(lambda both: (*both[0], *both[1]))


@given(groups())
def test_the_interval_is_honest(given: tuple[int, int, int, int]) -> None:
    one, other = lift(*given), lift(*given[2:], *given[:2])
    assert one is not None
    assert other is not None
    assert -1 - 1e-9 <= one.low <= one.difference <= one.high <= 1 + 1e-9
    assert (one.low, one.difference, one.high) == pytest.approx((-other.high, -other.difference, -other.low))
    assert one.certain == (one.low > 0 or one.high < 0)


def chance(of: int, share: float) -> list[float]:
    return [comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(of + 1)]


@pytest.mark.parametrize(("asked", "alone"), [(30, 10), (60, 15)])
@pytest.mark.parametrize(("rate", "base"), [(0.05, 0.05), (0.2, 0.1), (0.5, 0.3), (0.9, 0.95)])
def test_it_covers_the_truth_as_often_as_it_says(asked: int, alone: int, rate: float, base: float) -> None:
    """All outcomes of two small groups, each with its exact probability."""
    covered = naive = 0.0
    for k, p in enumerate(chance(asked, rate)):
        for n, q in enumerate(chance(alone, base)):
            found = lift(k, asked, n, alone)
            assert found is not None
            covered += p * q * (found.low <= rate - base <= found.high)
            spread = 1.96 * (
                (found.rate * (1 - found.rate) / asked + found.base * (1 - found.base) / alone) ** 0.5
            )
            naive += p * q * (abs(found.difference - (rate - base)) <= spread)
    assert 0.92 <= covered <= 1
    assert naive < covered  # the usual interval promises more than it keeps


def test_an_empty_group_compares_with_nothing() -> None:
    assert lift(0, 0, 1, 2) is None
    assert lift(1, 2, 0, 0) is None


@pytest.mark.parametrize("groups", [(3, 2, 0, 1), (0, 1, 3, 2), (-1, 2, 0, 1), (0, 1, -1, 1)])
def test_impossible_groups(groups: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no such groups"):
        lift(*groups)
