"""The configuration of the seed: as code, as JSON, and back."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.definitions import (
    UNLIMITED,
    DefinitionError,
    Loop,
    Recovery,
    action,
    condition,
    define_loop,
    dump_loop,
    load_loop,
    step,
    trigger,
)

SEED = Path(__file__).with_name("seed.json")
TEXT = SEED.read_text(encoding="utf-8")


def typed() -> Loop:
    return define_loop(
        type="freemium",
        opinion="Enforce usage limits for free tier users and trigger upgrade prompts",
        steps=[
            step(
                trigger=trigger.api("/api/features/*", method="POST"),
                condition=condition.usage(limit={"free": 100, "paid": UNLIMITED}, period="30d"),
                action=action.block(
                    "You've reached your free tier limit. Upgrade to continue.",
                    upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
                ),
            ),
        ],
        recovery=Recovery(retries=0),
    )


def test_the_typed_loop_dumps_to_the_seeds_json_byte_for_byte() -> None:
    assert typed().to_json(indent=2) + "\n" == TEXT


@pytest.mark.parametrize("source", [SEED, str(SEED), TEXT, TEXT.encode(), "\ufeff" + TEXT, json.loads(TEXT)])
def test_every_way_in_gives_the_same_loop(source: Any) -> None:
    loop = load_loop(source)
    assert loop == typed()
    assert hash(loop) == hash(typed())
    assert loop.to_json(indent=2) + "\n" == TEXT


def test_what_the_seed_means() -> None:
    (only,) = typed().steps
    assert only.trigger is not None
    assert only.trigger.methods == {"POST"}
    assert dict(only.condition.limit) == {"free": 100, "paid": UNLIMITED}
    assert only.condition.charge == "success"
    assert only.action.status_code is None
    assert typed().key == "freemium"
    assert typed().enforce
    assert typed().attribution.days == 30


def shuffled(value: Any, draw: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key], draw) for key in draw(st.permutations(list(value)))}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


@given(st.data())
def test_any_order_of_keys_survives(data: st.DataObject) -> None:
    written = shuffled(json.loads(TEXT), data.draw)
    loop = load_loop(json.dumps(written))
    assert loop.to_json() == json.dumps(written)
    assert loop == typed()
    assert hash(loop) == hash(typed())


WRITTEN = {
    "name": "exports",
    "attribution": "2w",
    "holdout": 0,
    "enforce": False,
    "type": "freemium",
    "steps": [
        {
            "action": {
                "notifyAt": [0.8, 1],
                "warning": {"type": "email", "template": "team/warn", "subject": "Nearly\u00a0there"},
                "message": "Zeile eins\nЗавтра",
                "type": "block",
                "statusCode": 429,
            },
            "condition": {
                "period": {"unit": "month", "type": "calendar", "timezone": "Europe/Helsinki"},
                "limit": {"paid": "Infinity", "my plan": 0, "free": 5},
                "cost": 2,
                "type": "usage",
                "groupBy": "route",
                "charge": "attempt",
                "meter": "exports",
            },
            "trigger": {"method": ["post", "GET"], "endpoint": "/*", "type": "api", "optional": True},
            "name": "first",
        },
        {
            "condition": {"type": "usage", "limit": {"free": 1}, "period": "1h30m"},
            "action": {
                "type": "block",
                "message": "No.",
                "upgradePrompt": {
                    "type": "email",
                    "template": "a",
                    "personalization": {"name": "{{user.name}}", "app": "x"},
                },
            },
            "trigger": None,
        },
        {
            "condition": {
                "type": "usage",
                "limit": {"free": 1},
                "period": {"length": "60m", "type": "fixed"},
            },
            "action": {"type": "block", "message": "No."},
        },
        {
            "condition": {
                "type": "usage",
                "limit": {"free": 1},
                "period": {"type": "rolling", "length": "90s"},
            },
            "action": {"type": "block", "message": "No."},
        },
        {
            "condition": {"type": "usage", "limit": {"free": 1}, "period": {"type": "billing_cycle"}},
            "action": {"type": "block", "message": "No."},
        },
        {
            "condition": {"type": "usage", "limit": {"free": 1}, "period": {"type": "lifetime"}},
            "action": {"type": "block", "message": "No."},
        },
    ],
    "opinion": "",
    "recovery": {"cap": "120s", "base": "2m", "retries": 3, "backoff": "fixed"},
}


def test_every_key_dumps_as_it_was_written() -> None:
    loop = load_loop(WRITTEN)
    assert loop.to_json() == json.dumps(WRITTEN, ensure_ascii=False)
    assert load_loop(loop.to_json()) == loop
    assert loop.model_dump() == dump_loop(loop) == json.loads(loop.model_dump_json())


def test_snake_case_is_read_and_camel_case_is_written() -> None:
    written = json.loads(TEXT)
    prompt = written["steps"][0]["action"].pop("upgradePrompt")
    written["steps"][0]["action"]["upgrade_prompt"] = prompt
    assert load_loop(written).to_json(indent=2) + "\n" == TEXT


@pytest.mark.parametrize("spelt", ["Infinity", '"Infinity"', '"unlimited"', "1e999"])
def test_unlimited_is_dumped_as_the_string_infinity(spelt: str) -> None:
    loop = load_loop(TEXT.replace('"Infinity"', spelt))
    assert loop == typed()
    assert loop.to_json(indent=2) + "\n" == TEXT


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda loop: pickle.loads(pickle.dumps(loop))])  # noqa: S301  # our own bytes
def test_copies_are_equal_and_dump_alike(clone: Any) -> None:
    loop = load_loop(WRITTEN)
    assert clone(loop) == loop
    assert clone(loop).to_json() == loop.to_json()
    assert hash(clone(loop)) == hash(loop)


def test_a_changed_copy_is_checked_and_dumps_what_changed() -> None:
    shadow = typed().model_copy(update={"enforce": False, "name": "trial"})
    assert not shadow.enforce
    assert shadow.key == "trial"
    assert json.loads(shadow.to_json()) == {**json.loads(TEXT), "enforce": False, "name": "trial"}
    assert load_loop(shadow.to_json()) == shadow
    assert typed().model_copy() == typed()
    with pytest.raises(DefinitionError, match="holdout: got 2"):
        typed().model_copy(update={"holdout": 2})


def test_nothing_written_changes_a_loop_afterwards() -> None:
    limit: dict[str, Any] = {"free": 100}
    methods = ["POST"]
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/x", method=methods),
                condition=condition.usage(limit=limit, period="30d"),
                action=action.block("No."),
            )
        ],
    )
    before = loop.to_json()
    limit["free"] = 1
    methods.append("GET")
    assert loop.to_json() == before
    assert loop.steps[0].condition.limit["free"] == 100
    with pytest.raises(ValueError, match="frozen"):
        loop.enforce = False  # type: ignore[misc]  # what is tried here is what the type forbids
    with pytest.raises(TypeError):
        loop.steps[0].condition.limit["free"] = 2  # type: ignore[index]  # likewise


def test_a_function_cannot_be_dumped_and_the_dump_says_so() -> None:
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                condition=condition.usage(limit={"free": 1}, period="1d", cost=lambda request: 2),
                action=action.block("No."),
            )
        ],
    )
    with pytest.raises(DefinitionError) as caught:
        dump_loop(loop)
    assert str(caught.value) == (
        "the dump has 1 fault:\n"
        "  steps[0].condition.cost: got a function, which JSON cannot hold; "
        "give what JSON can hold; a loop with functions is kept as Python"
    )


def test_what_is_at_its_default_is_left_out() -> None:
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/x", method=None, optional=False),
                condition=condition.usage(limit={"free": 1}, period="1d", cost=1, charge="success"),
                action=action.block("No.", notify_at=()),
            )
        ],
        recovery=Recovery(),
        holdout=0.0,
        attribution="30d",
    )
    assert dump_loop(loop) == {
        "type": "freemium",
        "steps": [
            {
                "trigger": {"type": "api", "endpoint": "/x"},
                "condition": {"type": "usage", "limit": {"free": 1}, "period": "1d"},
                "action": {"type": "block", "message": "No."},
            }
        ],
    }
