"""The subject that a payload names."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.engine.paths import subject_at

PAYLOAD: dict[str, Any] = {
    "user_id": "ada",
    "data": {
        "user": {"id": 12, "float": 12.0, "half": 1.5, "yes": True, "none": None},
        "list": [{"id": "x"}],
    },
    "": "nameless",
}


@pytest.mark.parametrize(
    ("path", "subject"),
    [
        ("user_id", "ada"),
        ("data.user.id", "12"),
        ("data.user.float", "12"),
        ("data.user.half", None),
        ("data.user.yes", None),
        ("data.user.none", None),
        ("data.user", None),
        ("data.list.0.id", None),
        ("data.list", None),
        ("data.nobody.id", None),
        ("user_id.0", None),
        ("", "nameless"),
        ("data..id", None),
    ],
)
def test_a_path_goes_through_objects_to_an_id(path: str, subject: str | None) -> None:
    assert subject_at(PAYLOAD, path) == subject


def test_what_can_be_no_id_is_none() -> None:
    for value in ("", math.inf, math.nan, 10**5000, -(10**5000)):
        assert subject_at({"id": value}, "id") is None


def test_a_large_number_keeps_every_digit() -> None:
    assert subject_at({"id": 9007199254740993}, "id") == "9007199254740993"
    assert subject_at({"id": -3}, "id") == "-3"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON), st.text())
def test_nothing_but_text_or_none_comes_of_it(payload: Any, path: str) -> None:
    found = subject_at(payload, path)
    assert found is None or (isinstance(found, str) and found)
