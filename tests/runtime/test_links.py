"""Signed links: only ours open, only for what they were made for, and only for a time."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.errors import LinkInvalid
from skene.runtime.links import Links, LinkTarget
from skene.testing.clock import ManualClock

KEY = b"a key of some length, for tests only"
DAY = timedelta(days=1)


def links(
    clock: ManualClock | None = None, *, key: bytes = KEY, base: str = "https://app.test/skene"
) -> Links:
    return Links(key, base, clock or ManualClock(), lifetime=30 * DAY)


def token(url: str) -> str:
    return parse_qs(urlsplit(url).query)["token"][0]


def test_a_link_says_what_it_was_made_for() -> None:
    made = links()
    url = made.upgrade(wall="wall-1")
    assert url.startswith("https://app.test/skene/upgrade?token=")
    assert made.read(token(url)) == LinkTarget("wall-1", None)
    assert made.read(token(made.upgrade(subject="ada"))) == LinkTarget(None, "ada")


def test_another_process_with_the_same_key_reads_it() -> None:
    assert links().read(token(links().upgrade(wall="w"))).wall == "w"


def test_a_link_to_a_wall_names_nobody() -> None:
    assert "ada" not in links().upgrade(wall="w")


@given(subject=st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_subject_survives_the_journey_through_a_url(subject: str) -> None:
    url = links().upgrade(subject=subject)
    assert url.isascii()
    assert links().read(token(url)).subject == subject


@given(rubbish=st.text(st.characters(codec=None), max_size=60))
def test_rubbish_is_refused_and_nothing_else_is_raised(rubbish: str) -> None:
    with pytest.raises(LinkInvalid):
        links().read(rubbish)


@given(data=st.data())
def test_no_character_can_be_changed(data: st.DataObject) -> None:
    made = token(links().upgrade(wall="wall-1"))
    place = data.draw(st.integers(0, len(made) - 2))  # the last one has bits that carry nothing
    char = data.draw(st.sampled_from("abcXYZ019-_.").filter(lambda c: c != made[place]))
    with pytest.raises(LinkInvalid):
        links().read(made[:place] + char + made[place + 1 :])


def test_another_key_or_another_purpose_signs_nothing_of_ours() -> None:
    with pytest.raises(LinkInvalid, match="not one of ours"):
        links(key=b"another key").read(token(links().upgrade(wall="w")))
    made = links()
    for purpose in ("something.else", "itsdangerous"):
        with pytest.raises(LinkInvalid):
            made.read(str(made._serializer.dumps({"w": "w"}, salt=purpose)))


@pytest.mark.parametrize("payload", [{"w": 7}, {"s": ["ada"]}, ["w"], "w", None, 7])
def test_what_is_signed_but_no_link_is_refused(payload: object) -> None:
    made = links()
    with pytest.raises(LinkInvalid, match="not one of ours"):
        made.read(str(made._serializer.dumps(payload)))


def test_a_link_expires_by_our_clock() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    made = links(clock)
    url = token(made.upgrade(wall="w"))
    clock.advance(30 * DAY)
    assert made.read(url).wall == "w"
    clock.advance(timedelta(seconds=1))
    with pytest.raises(LinkInvalid) as caught:
        made.read(url)
    assert caught.value.reason == "expired"


def test_a_clock_that_another_one_replaces_counts_at_once() -> None:
    made = links(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    url = token(made.upgrade(wall="w"))
    made.clock = ManualClock(datetime(2027, 1, 1, tzinfo=UTC))
    with pytest.raises(LinkInvalid, match="expired"):
        made.read(url)


@pytest.mark.parametrize(
    ("base", "origin"),
    [
        ("https://app.test/skene", "https://app.test"),
        ("http://localhost:8000/skene/", "http://localhost:8000"),
        ("https://app.test/under/a/path/skene", "https://app.test"),
    ],
)
def test_the_origin_is_scheme_and_host(base: str, origin: str) -> None:
    made = links(base=base)
    assert made.origin == origin
    assert made.upgrade(wall="w").startswith(base.rstrip("/") + "/upgrade?")


# --- unsubscribing ---


@given(subject=st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_link_to_unsubscribe_names_the_subject(subject: str) -> None:
    url = links().unsubscribe(subject)
    assert url.isascii()
    assert url.startswith("https://app.test/skene/unsubscribe?token=")
    assert links().read_unsubscribe(token(url)) == subject


@pytest.mark.parametrize("char", ["a", "é", "ก", "\N{GRINNING FACE}"])
def test_it_fits_into_one_line_of_a_header_whatever_the_id(char: str) -> None:
    subject = "".join(chr(ord(char) + number % 20) for number in range(200 // len(char.encode())))
    assert len(links().unsubscribe(subject)) < 960


def test_it_works_for_as_long_as_the_key_does() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    made = links(clock)
    url = token(made.unsubscribe("ada"))
    for days in (30, 400, 4000):
        clock.advance(days * DAY)
        assert made.read_unsubscribe(url) == "ada"


def test_a_link_to_payment_unsubscribes_nobody_and_the_other_way_round() -> None:
    made = links()
    for url in (made.upgrade(subject="ada"), made.upgrade(wall="w")):
        with pytest.raises(LinkInvalid, match="not one of ours"):
            made.read_unsubscribe(token(url))
    with pytest.raises(LinkInvalid, match="not one of ours"):
        made.read(token(made.unsubscribe("ada")))
    with pytest.raises(LinkInvalid, match="not one of ours"):
        links(key=b"another key").read_unsubscribe(token(made.unsubscribe("ada")))


@given(rubbish=st.text(st.characters(codec=None), max_size=60))
def test_rubbish_unsubscribes_nobody(rubbish: str) -> None:
    with pytest.raises(LinkInvalid):
        links().read_unsubscribe(rubbish)


@pytest.mark.parametrize("payload", [{"w": "w"}, {"s": 7}, ["ada"], "ada", None])
def test_what_is_signed_and_names_nobody(payload: object) -> None:
    made = links()
    with pytest.raises(LinkInvalid, match="not one of ours"):
        made.read_unsubscribe(str(made._unsubscribing.dumps(payload)))
