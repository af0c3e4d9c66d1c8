"""What is kept of a customer beside what a listing shows."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from json import dumps, loads
from typing import Any

import pytest

from skene.engine.comparing import Verdict, as_kept, compare
from skene.engine.standing import Subscription

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ONE = Subscription("sub_1", "active", "pro", NOON, NOON, amount=2000, currency="usd", started_at=NOON)
TWO = replace(ONE, id="sub_2")
ENDED = replace(ONE, id="sub_0", status="canceled")


def test_what_is_kept_is_plain_json_and_says_all() -> None:
    kept = as_kept([TWO, ONE])
    assert loads(dumps(kept)) == kept
    assert [one["id"] for one in kept] == ["sub_1", "sub_2"]
    assert kept[0].keys() == {field.name for field in fields(Subscription)}
    assert kept[0]["started_at"] == "2026-11-20T12:00:00+00:00"


@pytest.mark.parametrize(
    ("kept", "listed", "verdict"),
    [
        ([], [], Verdict.EQUAL),
        ([], [ONE], Verdict.DIFFERS),
        ([ONE], [ONE], Verdict.EQUAL),
        ([ONE], [replace(ONE, quantity=2)], Verdict.DIFFERS),
        ([ONE], [replace(ONE, plan=None)], Verdict.DIFFERS),
        ([ONE, ENDED], [ONE], Verdict.EQUAL),
        ([ONE, ENDED], [ONE, ENDED], Verdict.EQUAL),
        ([ONE, TWO], [ONE], Verdict.PARTLY),
        ([ONE, TWO], [TWO, ONE], Verdict.EQUAL),
        ([ONE], [], Verdict.PARTLY),
        ([ONE], [ONE, TWO], Verdict.DIFFERS),
    ],
)
def test_a_page_is_compared(kept: list[Subscription], listed: list[Subscription], verdict: Verdict) -> None:
    assert compare(as_kept(kept), as_kept(listed)) is verdict


FETCHED = "unpaid_since"
"""What a listing does not say."""
LISTED = [field.name for field in fields(Subscription) if field.name not in ("id", FETCHED)]


def test_what_only_a_fetch_says_is_no_difference() -> None:
    known: dict[str, Any] = {FETCHED: "known"}
    assert compare(as_kept([replace(ONE, **known)]), as_kept([ONE])) is Verdict.EQUAL


@pytest.mark.parametrize("name", LISTED)
def test_every_field_counts(name: str) -> None:
    other: dict[str, Any] = {name: "other"}
    assert compare(as_kept([ONE]), as_kept([replace(ONE, **other)])) is Verdict.DIFFERS


def test_what_an_older_release_has_kept_differs() -> None:
    (old,) = as_kept([ONE])
    del old["started_at"]
    assert compare([old], as_kept([ONE])) is Verdict.DIFFERS
    assert compare([{}], as_kept([ONE])) is Verdict.DIFFERS
