"""Values that are quick to make are values like all others."""

from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from skene.engine.light import light


@dataclass(frozen=True, slots=True)
class Plain:
    name: str
    units: int = 1
    notes: tuple[str, ...] = ()


@light
@dataclass(frozen=True, slots=True)
class Light:
    name: str
    units: int = 1
    notes: tuple[str, ...] = ()


def test_they_are_made_as_before() -> None:
    for kind in (Plain, Light):
        one = kind("ada", notes=("a",))
        assert (one.name, one.units, one.notes) == ("ada", 1, ("a",))
        with pytest.raises(TypeError):
            kind()  # type: ignore[call-arg] # that is the point
        assert [field.name for field in fields(kind)] == ["name", "units", "notes"]


def test_equal_ones_are_equal_and_hash_alike() -> None:
    assert Light("ada") == Light("ada", 1)
    assert Light("ada") != Light("bob")
    assert len({Light("ada"), Light("ada", 1), Light("bob")}) == 2


def test_they_are_shown_and_replaced_as_before() -> None:
    assert repr(Light("ada")) == "Light(name='ada', units=1, notes=())"
    assert replace(Light("ada"), units=3) == Light("ada", 3)


def test_only_the_guard_at_run_time_is_gone() -> None:
    with pytest.raises(FrozenInstanceError):
        Plain("ada").units = 2  # type: ignore[misc] # that is the point
    Light("ada").units = 2  # type: ignore[misc] # type checkers still refuse it
    with pytest.raises(AttributeError):
        Light("ada").other = 2  # type: ignore[attr-defined] # nor is there room for anything else
