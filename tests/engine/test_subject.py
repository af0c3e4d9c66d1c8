"""Ids that every store can keep."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.engine.subject import MAX_SUBJECT_BYTES, storable_id

ANY_TEXT = st.text(st.characters())  # lone surrogates and NUL included


@given(st.one_of(ANY_TEXT, st.text(min_size=150, max_size=400)))
def test_every_text_becomes_storable(text: str) -> None:
    stored = storable_id(text)
    assert len(stored.encode("utf-8")) <= MAX_SUBJECT_BYTES  # encoding raises on a lone surrogate
    assert "\0" not in stored
    assert storable_id(stored) == stored


@given(ANY_TEXT, ANY_TEXT)
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert (storable_id(one) == storable_id(other)) == (one == other)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
def test_what_can_be_kept_is_kept(text: str) -> None:
    assert storable_id(text) == text


@pytest.mark.parametrize(
    "text", ["x" * 201, "ä" * 101, "🌍" * 51, "a\0b", "\ud800", "a\udfff", "ä" * 99 + "é\u0301"]
)
def test_what_cannot_is_a_digest(text: str) -> None:
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    assert storable_id(text) == f"sha256:{digest}"


@pytest.mark.parametrize("text", ["x" * 200, "ä" * 100, "🌍" * 50, "\ud7ff", "\ue000", " ", "'"])
def test_the_longest_that_can(text: str) -> None:
    assert storable_id(text) == text


def test_composed_and_decomposed_are_two() -> None:
    assert storable_id("\u00e9") != storable_id("e\u0301")
