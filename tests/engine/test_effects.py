"""Keys that name a message and no other, and what a template is told."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skene import Decision, Reason, action
from skene.engine.effects import message_data, subject_digest
from skene.engine.keys import unique_key

# Any text at all, lone surrogates and separators included: subjects are whatever an app calls its users.
anything = st.text(st.characters(codec=None), max_size=6) | st.sampled_from(
    ["\x1f", "a\x1fb", ":", "1:", "\ud83d"]
)
lists = st.lists(anything, max_size=5)


def decision(**more: Any) -> Decision:
    fields: dict[str, Any] = {
        "allowed": False,
        "reason": Reason.LIMIT_REACHED,
        "subject": "ada",
        "loop": "freemium",
        "step": "freemium.exports",
        "meter": "exports",
        "plan": "free",
        "limit": 100,
        "used": 100,
        "cost": 1,
        "period": "30d",
        "window_start": datetime(2026, 11, 1, tzinfo=UTC),
        "resets_at": datetime(2026, 12, 1, tzinfo=UTC),
        "decided_at": datetime(2026, 11, 20, tzinfo=UTC),
    }
    return Decision(**{**fields, **more})


@given(one=lists, other=lists)
def test_a_key_is_the_same_for_the_same_message_and_for_no_other(one: list[str], other: list[str]) -> None:
    assert unique_key("prompt", *one) == unique_key("prompt", *one)
    assert (unique_key("prompt", *one) == unique_key("prompt", *other)) == (one == other)
    assert unique_key("prompt", *one) != unique_key("warning", *one)


@given(about=st.lists(anything, min_size=1, max_size=5), place=st.integers(0, 4), instead=anything)
def test_every_argument_counts(about: list[str], place: int, instead: str) -> None:
    place %= len(about)
    changed = [*about[:place], instead, *about[place + 1 :]]
    assert (unique_key("k", *about) == unique_key("k", *changed)) == (about == changed)


@given(about=lists)
def test_a_key_is_short_plain_and_tells_nothing(about: list[str]) -> None:
    kind, _, digest = unique_key("upgrade_prompt", *about).partition(":")
    assert kind == "upgrade_prompt"
    assert len(digest) == 40
    assert set(digest) <= set("0123456789abcdef")


def test_keys_stay_as_they_are_from_one_release_to_the_next() -> None:
    """A changed key would send a second mail to everybody who has a wall when the new version is deployed."""
    given = unique_key("upgrade_prompt", "freemium", "ada", "free", "2026-01-01T12:00:00+00:00")
    assert given == "upgrade_prompt:73f36d8fcc60817e5803c7129c93938109ed1436"


@given(one=st.tuples(anything, anything), other=st.tuples(anything, anything))
def test_a_subject_has_one_digest_in_each_loop(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (subject_digest(*one) == subject_digest(*other)) == (one == other)
    assert len(subject_digest(*one)) == 32


def test_what_a_template_is_told() -> None:
    mail = action.email("ask", subject="A question", personalization={"team": "Blue"})
    data = message_data(decision(), "Enough.", mail, upgrade_url="https://app.test/up")
    assert data == {
        "subject_line": "A question",
        "personalization": {"team": "Blue"},
        "values": {
            "message": "Enough.",
            "loop": "freemium",
            "meter": "exports",
            "plan": "free",
            "limit": 100,
            "used": 100,
            "remaining": 0,
            "period": "30d",
            "resets_at": "2026-12-01T00:00:00+00:00",
            "upgrade_url": "https://app.test/up",
        },
    }


def test_a_value_that_does_not_exist_is_none_and_everything_is_json() -> None:
    lasting = decision(limit=None, resets_at=None)
    data = message_data(lasting, "Enough.", action.email("ask"), upgrade_url=None)
    assert json.loads(json.dumps(data)) == data
    assert data["subject_line"] is None
    assert data["personalization"] == {}
    values = data["values"]
    assert isinstance(values, dict)
    assert (values["limit"], values["remaining"], values["resets_at"], values["upgrade_url"]) == (None,) * 4
