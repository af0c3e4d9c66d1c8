"""Every kind of trigger, condition and action: as code, as JSON, and back."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic.alias_generators import to_snake

from skene.definitions import (
    DefinitionError,
    Loop,
    Recovery,
    Step,
    Wait,
    action,
    condition,
    define_loop,
    dump_loop,
    load_loop,
    step,
    trigger,
    wait,
)
from tests.definitions.seeds import ACTIVATION, RETENTION

activation = define_loop(
    type="activation",
    opinion="Detect when users complete their first key action and trigger personalized onboarding",
    steps=[
        step(
            trigger=trigger.database("users", event="insert"),
            condition=condition.query(
                "SELECT * FROM user_actions WHERE user_id = $1 AND action_type = 'first_project_created'",
                timeout="5m",
            ),
            action=action.email(
                "activation_welcome",
                provider="resend",
                personalization={"name": "{{user.name}}", "activationLink": "{{user.activation_link}}"},
            ),
        )
    ],
    recovery=Recovery(retries=3, backoff="exponential"),
)
retention = define_loop(
    type="retention",
    opinion="Detect dormant users and trigger personalized re-engagement campaigns",
    steps=[
        step(
            trigger=trigger.schedule("0 9 * * *"),
            condition=condition.query(
                "SELECT * FROM users WHERE last_activity_at < NOW() - INTERVAL '7 days' "
                "AND re_engagement_sent = false",
                timeout="10m",
            ),
            action=action.email(
                "re_engagement",
                provider="resend",
                personalization={"name": "{{user.name}}", "lastActivity": "{{user.last_activity_at}}"},
            ),
        )
    ],
    recovery=Recovery(retries=3, backoff="exponential"),
)


@pytest.mark.parametrize(("seed", "written"), [(ACTIVATION, activation), (RETENTION, retention)])
def test_a_seed_loads_from_json_equals_the_same_in_python_and_dumps_back(seed: Path, written: Loop) -> None:
    text = seed.read_text(encoding="utf-8")
    loaded = load_loop(seed)
    assert loaded == written
    assert hash(loaded) == hash(written)
    assert loaded.to_json(indent=2) + "\n" == text
    assert written.to_json(indent=2) + "\n" == text
    assert load_loop(json.loads(text)).to_json(indent=2) + "\n" == text


MAIL = {"type": "email", "template": "a"}
EVENT = {"type": "event", "event": "project.created"}
QUERY = {"type": "query", "query": "SELECT 1 FROM a WHERE id = $1"}

STEPS: dict[str, dict[str, Any]] = {
    "database": {
        "trigger": {
            "event": "update",
            "type": "database",
            "table": "shop.orders",
            "columns": ["status", "paid_at"],
            "where": {"status": "paid", "test": False, "amount": 5, "note": None},
            "subject": "user_id",
            "capture": ["status"],
        },
        "action": MAIL,
    },
    "schedule": {
        "trigger": {"type": "schedule", "cron": "0 9 * * 1-5", "timezone": "Europe/Helsinki", "grace": "30m"},
        "condition": {
            "timeout": "10m",
            "type": "query",
            "query": "SELECT * FROM users",
            "subject": "owner",
            "maxRows": 5000,
        },
        "action": MAIL,
        "cooldown": "7d",
        "maxFires": 3,
    },
    "webhook": {
        "trigger": {"type": "webhook", "source": "crm", "event": "deal.won", "subject": "data.user.id"},
        "action": MAIL,
    },
    "any webhook": {"action": MAIL, "trigger": {"type": "webhook", "subject": "id", "source": "crm"}},
    "event": {"trigger": EVENT, "action": MAIL},
    "plans": {
        "trigger": {"type": "event", "event": "plan.changed"},
        "condition": {
            "type": "plan",
            "changedFrom": "trial",
            "changedTo": ["paid", "team"],
            "plans": ["team"],
        },
        "action": MAIL,
    },
    "one plan": {"trigger": EVENT, "condition": {"type": "plan", "plans": "free"}, "action": MAIL},
    "conditions": {
        "trigger": EVENT,
        "condition": {
            "type": "all_of",
            "conditions": [
                QUERY,
                {
                    "type": "any_of",
                    "conditions": [
                        {"type": "usage", "meter": "calls", "at": 0.8, "under": 1.0},
                        {"type": "usage", "under": 5},
                    ],
                },
                {"condition": {"plans": ["team"], "type": "plan"}, "type": "not"},
            ],
        },
        "action": MAIL,
    },
    "actions": {
        "trigger": EVENT,
        "action": [
            {"type": "email", "template": "a", "transactional": True, "subject": "Hello"},
            {
                "type": "webhook",
                "event": "user.activated",
                "provider": "crm",
                "payload": {"name": "{{user.name}}"},
            },
            {"type": "grant", "units": 50, "meter": "calls", "expires": "90d", "reason": "invited a friend"},
        ],
    },
    "one action in a list": {"trigger": EVENT, "action": [MAIL]},
}

CHAIN = {
    "type": "activation",
    "steps": [
        {"trigger": EVENT, "action": MAIL, "then": {"type": "wait", "length": "2d"}},
        {"action": MAIL, "then": "12h"},
        {"name": "last", "condition": QUERY, "action": MAIL},
    ],
    "goal": {"type": "event", "event": "done"},
    "holdout": 0.1,
    "attribution": "14d",
}


def snake(value: Any) -> Any:
    """The same with the keys of definitions in snake_case; those of the user's own stay."""
    if isinstance(value, dict):
        own = ("where", "payload", "personalization")
        return {to_snake(key): one if key in own else snake(one) for key, one in value.items()}
    return [snake(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", STEPS)
def test_every_kind_dumps_as_it_was_written(name: str) -> None:
    written = {"type": "activation", "steps": [STEPS[name]]}
    loop = load_loop(written)
    assert loop.to_json() == json.dumps(written)
    assert load_loop(loop.to_json()) == loop
    assert load_loop(snake(written)) == loop
    assert load_loop(snake(written)).to_json() == json.dumps(written)
    again = pickle.loads(pickle.dumps(loop))  # noqa: S301  # our own bytes
    assert (again, hash(again), again.to_json()) == (loop, hash(loop), loop.to_json())


@pytest.mark.parametrize("goal", [CHAIN["goal"], QUERY])
def test_a_chain_with_a_goal_dumps_as_it_was_written(goal: Any) -> None:
    written = {**CHAIN, "goal": goal}
    assert load_loop(written).to_json() == json.dumps(written)
    assert load_loop(load_loop(written).to_json()) == load_loop(written)


def in_python(one: Step) -> Any:
    (dumped,) = dump_loop(define_loop(type="activation", steps=[one]))["steps"]
    return dumped


EVENT_TRIGGER = trigger.event("project.created")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (
            "database",
            step(
                trigger=trigger.database(
                    "shop.orders",
                    event="update",
                    columns=["status", "paid_at"],
                    where={"status": "paid", "test": False, "amount": 5, "note": None},
                    subject="user_id",
                    capture=["status"],
                ),
                action=action.email("a"),
            ),
        ),
        (
            "schedule",
            step(
                trigger=trigger.schedule("0 9 * * 1-5", timezone="Europe/Helsinki", grace="30m"),
                condition=condition.query(
                    "SELECT * FROM users", timeout="10m", subject="owner", max_rows=5000
                ),
                action=action.email("a"),
                cooldown="7d",
                max_fires=3,
            ),
        ),
        (
            "webhook",
            step(
                trigger=trigger.webhook("crm", event="deal.won", subject="data.user.id"),
                action=action.email("a"),
            ),
        ),
        ("event", step(trigger=EVENT_TRIGGER, action=action.email("a"))),
        (
            "plans",
            step(
                trigger=trigger.event("plan.changed"),
                condition=condition.plan("team", changed_from="trial", changed_to=["paid", "team"]),
                action=action.email("a"),
            ),
        ),
        (
            "conditions",
            step(
                trigger=EVENT_TRIGGER,
                condition=condition.all_of(
                    condition.query("SELECT 1 FROM a WHERE id = $1"),
                    condition.any_of(
                        condition.usage(meter="calls", at=0.8, under=1.0), condition.usage(under=5)
                    ),
                    condition.not_(condition.plan("team")),
                ),
                action=action.email("a"),
            ),
        ),
        (
            "actions",
            step(
                trigger=EVENT_TRIGGER,
                action=[
                    action.email("a", transactional=True, subject="Hello"),
                    action.webhook("crm", "user.activated", payload={"name": "{{user.name}}"}),
                    action.grant(50, meter="calls", expires="90d", reason="invited a friend"),
                ],
            ),
        ),
    ],
)
def test_every_kind_in_python_is_the_same_as_in_json(name: str, written: Step) -> None:
    assert in_python(written) == STEPS[name]
    assert load_loop({"type": "activation", "steps": [STEPS[name]]}).steps == (written,)


def test_a_pause_is_written_with_wait_or_for_short() -> None:
    def chain(then: Any) -> Loop:
        first = step(trigger=EVENT_TRIGGER, action=action.email("a"), then=then)
        return define_loop(type="activation", steps=[first, step(action=action.email("b"))])

    assert chain("2d") == chain(wait("2d")) == chain(wait("48h")) == chain(Wait(length="2d"))  # type: ignore[arg-type]  # durations are text
    assert dump_loop(chain("2d"))["steps"][0]["then"] == "2d"
    assert dump_loop(chain(wait("2d")))["steps"][0]["then"] == {"type": "wait", "length": "2d"}


def test_what_is_at_its_default_is_left_out() -> None:
    written = step(
        trigger=trigger.database("users", event="delete", columns=None, where=None, subject="id"),
        condition=condition.query("SELECT 1", timeout=None, subject=None, max_rows=1_000_000),
        action=[action.grant(1, reason=""), action.webhook("crm", "x", payload=None)],
        then=None,
        cooldown=None,
        max_fires=None,
    )
    assert in_python(written) == {
        "trigger": {"type": "database", "table": "users", "event": "delete"},
        "condition": {"type": "query", "query": "SELECT 1"},
        "action": [{"type": "grant", "units": 1}, {"type": "webhook", "provider": "crm", "event": "x"}],
    }
    hourly = trigger.schedule("0 * * * *", timezone="UTC", grace="1h")
    assert hourly.dump() == {"type": "schedule", "cron": "0 * * * *"}
    level = condition.usage(at=0.5, meter=None, under=None)
    assert level.dump() == {"type": "usage", "at": 0.5}


def test_functions_cannot_be_dumped_and_the_dump_says_where_each_is() -> None:
    loop = define_loop(
        type="activation",
        steps=[
            step(
                trigger=EVENT_TRIGGER,
                condition=condition.any_of(condition.plan("free"), condition.not_(condition.function(bool))),
                action=[action.email("a"), action.function(print, repeatable=True)],
            )
        ],
    )
    with pytest.raises(DefinitionError) as caught:
        dump_loop(loop)
    allowed = (
        "got a function, which JSON cannot hold; "
        "give what JSON can hold; a loop with functions is kept as Python"
    )
    assert str(caught.value).splitlines() == [
        "the dump has 2 faults:",
        f"  steps[0].condition.conditions[1].condition.function: {allowed}",
        f"  steps[0].action[1].function: {allowed}",
    ]


def test_levels_tell_units_from_shares_by_the_point() -> None:
    for level in (1, 1.0):
        loop = load_loop(
            f'{{"type": "activation", "steps": [{{"trigger": '
            f'{json.dumps(EVENT)}, "action": {json.dumps(MAIL)}, '
            f'"condition": {{"type": "usage", "at": {level}}}}}]}}'
        )
        asked: Any = loop.steps[0].condition
        assert type(asked.at) is type(level)
        assert f'"at": {level}}}' in loop.to_json()


def test_what_a_step_does_is_a_list_also_where_it_is_one_thing() -> None:
    mail, grant = action.email("a"), action.grant(5)
    assert step(trigger=EVENT_TRIGGER, action=mail).actions == (mail,)
    assert step(trigger=EVENT_TRIGGER, action=[mail, grant]).actions == (mail, grant)
    assert step(trigger=EVENT_TRIGGER, action=mail).limit is None
