"""Triggers, conditions and actions that look right and are not: each fault where it stands."""

import math
from typing import Any

import pytest

from skene.definitions import DefinitionError, load_loop
from tests.definitions.written import (
    ACTIONS,
    ASKED,
    ASKS,
    COLUMN,
    COLUMNS,
    CONDITIONS,
    DURATION,
    EVENT,
    EVENT_NAME,
    LEVEL,
    MAIL,
    METER,
    NOTIFIER,
    PLAN,
    RUN,
    SOURCE,
    STRANGER,
    SUBJECT,
    TABLE,
    UNITS,
    asks,
    database,
    does,
    event,
    grant,
    hook,
    plain,
    query,
    schedule,
    webhook,
    without,
)

BAD = [
    # trigger.database
    (database(table="a.b.c"), f'trigger.table: got "a.b.c" (str); give {TABLE}; did you mean "b.c"?'),
    (
        database(table='public."Users"'),
        f'trigger.table: got "public.\\"Users\\"" (str); give {TABLE}; did you mean "public.Users"?',
    ),
    (database(table=" users"), f'trigger.table: got " users" (str); give {TABLE}; did you mean "users"?'),
    (database(table=""), f'trigger.table: got "" (str); give {TABLE}'),
    (database(table="a."), f'trigger.table: got "a." (str); give {TABLE}'),
    (database(table="users\x00"), f'trigger.table: got "users\\u0000" (str); give {TABLE}'),
    (database(table="u" * 64), f'trigger.table: got "{"u" * 59}…" (str); give {TABLE}'),
    (database(table=5), f"trigger.table: got 5 (int); give {TABLE}"),
    (database(table=["users"]), f"trigger.table: got a list of 1; give {TABLE}"),
    (
        database(event="Insert"),
        'trigger.event: got "Insert" (str); give "insert", "update" or "delete"; did you mean "insert"?',
    ),
    (database(event="truncate"), 'trigger.event: got "truncate" (str); give "insert", "update" or "delete"'),
    (database(event=["insert"]), 'trigger.event: got a list of 1; give "insert", "update" or "delete"'),
    (
        database(event="update", columns="status"),
        f'trigger.columns: got "status" (str); give {COLUMNS}; did you mean ["status"]?',
    ),
    (database(event="update", columns=[]), f"trigger.columns: got a list of 0; give {COLUMNS}"),
    (database(event="update", columns="a b"), f'trigger.columns: got "a b" (str); give {COLUMNS}'),
    (database(event="update", columns=["a", 5]), f"trigger.columns[1]: got 5 (int); give {COLUMN}"),
    (database(event="update", columns=["a.b"]), f'trigger.columns[0]: got "a.b" (str); give {COLUMN}'),
    (
        database(columns=["status"]),
        'trigger.columns: got columns that change, with event="insert"; give event="update", or no columns',
    ),
    (
        database(event="delete", columns=["status"]),
        'trigger.columns: got columns that change, with event="delete"; give event="update", or no columns',
    ),
    (
        database(where=["status"]),
        'trigger.where: got a list of 1; give values by column, such as {"status": "active"}',
    ),
    (
        database(where={}),
        'trigger.where: got a dict of 0; give values by column, such as {"status": "active"}',
    ),
    (
        database(where={"status": ["a"]}),
        "trigger.where.status: got a list of 1; give text, a whole number, True, False or None",
    ),
    (
        database(where={"price": 1.5}),
        "trigger.where.price: got 1.5 (float); give text, a whole number, True, False or None",
    ),
    (
        database(where={"n": 2**63}),
        "trigger.where.n: got 9223372036854775808 (int); give text, a whole number, True, False or None",
    ),
    (database(where={"a b": 1}), f'trigger.where["a b"]: got "a b" (str); give {COLUMN}'),
    (database(where={5: 1}), f"trigger.where[5 (int)]: got 5 (int); give {COLUMN}"),
    (
        database(where={"password": 1.5}),
        "trigger.where.password: got a value of type float; give text, a whole number, True, False or None",
    ),
    (database(subject=5), f"trigger.subject: got 5 (int); give {COLUMN}"),
    (database(subject="user id"), f'trigger.subject: got "user id" (str); give {COLUMN}'),
    (
        database(capture="email"),
        f'trigger.capture: got "email" (str); give {COLUMNS}; did you mean ["email"]?',
    ),
    (
        database(colums=["a"]),
        "trigger.colums: got an unknown key; give one of type, table, event, columns, where, "
        "subject, capture; "
        "did you mean columns?",
    ),
    (without(database(), "trigger", "table"), f"trigger.table: got nothing; give {TABLE}"),
    (
        without(database(), "trigger", "event"),
        'trigger.event: got nothing; give "insert", "update" or "delete"',
    ),
    # trigger.schedule
    (schedule(cron=9), "trigger.cron: got 9 (int); give "),
    (
        without(schedule(), "trigger", "cron"),
        'trigger.cron: got nothing; give a cron expression such as "0 9 * * *"',
    ),
    (schedule(timezone="PST"), 'trigger.timezone: got "PST" (str); give an IANA time zone'),
    (schedule(grace="1 hour"), f'trigger.grace: got "1 hour" (str); give {DURATION}; did you mean "1h"?'),
    (
        schedule(timeZone="UTC"),
        "trigger.timeZone: got an unknown key; give one of type, cron, timezone, grace; did you "
        "mean timezone?",
    ),
    # trigger.webhook
    (without(webhook(), "trigger", "subject"), f"trigger.subject: got nothing; give {SUBJECT}"),
    (without(webhook(), "trigger", "source"), f"trigger.source: got nothing; give {SOURCE}"),
    (webhook(source="CRM"), f'trigger.source: got "CRM" (str); give {SOURCE}; did you mean "crm"?'),
    (webhook(source="1crm"), f'trigger.source: got "1crm" (str); give {SOURCE}'),
    (
        webhook(event="deal won"),
        f'trigger.event: got "deal won" (str); give {EVENT_NAME}; did you mean "deal_won"?',
    ),
    (webhook(event=5), f"trigger.event: got 5 (int); give {EVENT_NAME}"),
    (webhook(subject="data..id"), f'trigger.subject: got "data..id" (str); give {SUBJECT}'),
    (webhook(subject=["data", "id"]), f"trigger.subject: got a list of 2; give {SUBJECT}"),
    # trigger.event
    (event(event=""), f'trigger.event: got "" (str); give {EVENT_NAME}'),
    (
        event(event=" signed up"),
        f'trigger.event: got " signed up" (str); give {EVENT_NAME}; did you mean "signed_up"?',
    ),
    (event(event="é"), f'trigger.event: got "é" (str); give {EVENT_NAME}'),
    (event(event="e" * 101), f"trigger.event: got text of 101 characters; give {EVENT_NAME}"),
    (
        event(subject="id"),
        "trigger.subject: got an unknown key; give one of type, event",
    ),
    (without(event(), "trigger", "event"), f"trigger.event: got nothing; give {EVENT_NAME}"),
    # condition.query
    (asks("query"), "condition.query: got nothing; give one SELECT statement"),
    (query(query=5), "condition.query: got 5 (int); give a SELECT"),
    (
        query(query="DELETE FROM users"),
        "condition.query: got a statement that begins with DELETE; give a SELECT",
    ),
    (query(timeout=5), f'condition.timeout: got 5 (int); give {DURATION}; did you mean "5d"?'),
    (query(timeout="5min"), f'condition.timeout: got "5min" (str); give {DURATION}; did you mean "5m"?'),
    (
        query(subject=5),
        "condition.subject: got 5 (int); give the column of the result that names the subject, such "
        'as "user_id"',
    ),
    (query(maxRows=0), "condition.maxRows: got 0 (int); give a whole number from 1 to 100,000,000"),
    (query(max_rows=True), "condition.max_rows: got True (bool); give a whole number from 1 to 100,000,000"),
    (
        query(sql="SELECT 1"),
        "condition.sql: got an unknown key; give one of type, query, timeout, subject, maxRows",
    ),
    # condition.usage, asking
    (asks("usage", at=0), f"condition.at: got 0 (int); give {LEVEL}"),
    (asks("usage", at=0.0), f"condition.at: got 0.0 (float); give {LEVEL}"),
    (asks("usage", at=-0.5), f"condition.at: got -0.5 (float); give {LEVEL}"),
    (asks("usage", at=80.0), f"condition.at: got 80.0 (float); give {LEVEL}; did you mean 0.8 or 80?"),
    (asks("usage", at=100.0), f"condition.at: got 100.0 (float); give {LEVEL}; did you mean 1.0 or 100?"),
    (asks("usage", at=1.5), f"condition.at: got 1.5 (float); give {LEVEL}; did you mean 0.015?"),
    (asks("usage", at=250.0), f"condition.at: got 250.0 (float); give {LEVEL}; did you mean 250?"),
    (asks("usage", at=math.nan), f"condition.at: got nan (float); give {LEVEL}"),
    (asks("usage", at=math.inf), f"condition.at: got inf (float); give {LEVEL}"),
    (asks("usage", at=True), f"condition.at: got True (bool); give {LEVEL}"),
    (asks("usage", at="80%"), f'condition.at: got "80%" (str); give {LEVEL}'),
    (asks("usage", under=2**63), f"condition.under: got 9223372036854775808 (int); give {LEVEL}"),
    (asks("usage", at=None), "condition.at: got nothing; give at or under, or a limit and a period"),
    (
        asks("usage", at=0.8, meter="My Calls"),
        f'condition.meter: got "My Calls" (str); give {METER}; did you mean',
    ),
    (asks("usage", at=0.8, period="30d"), f"condition.period: {STRANGER}; give {ASKS}"),
    (asks("usage", at=0.8, groupBy="route"), f"condition.groupBy: {STRANGER}; give {ASKS}"),
    (
        asks("usage", at=0.8, above=1),
        "condition.above: got an unknown key; give one of type, meter, at, under",
    ),
    # condition.plan
    (asks("plan"), "condition.plans: got nothing; give a plan, changed_from or changed_to"),
    (asks("plan", plans=[]), 'condition.plans: got a list of 0; give plans, such as ["free", "team"]'),
    (asks("plan", plans=["free", 5]), f"condition.plans[1]: got 5 (int); give {PLAN}"),
    (asks("plan", plans=" "), f'condition.plans: got " " (str); give {PLAN}'),
    (asks("plan", plans={"free": 1}), f"condition.plans: got a dict of 1; give {PLAN}"),
    (
        asks("plan", plan="free"),
        "condition.plan: got an unknown key; give one of type, plans, changedFrom, changedTo; did "
        "you mean plans?",
    ),
    # condition.function
    (asks("function", function=5), f"condition.function: got 5 (int); give {ASKED}"),
    (asks("function", function="is_ready"), f'condition.function: got "is_ready" (str); give {ASKED}'),
    (
        asks("function", function=lambda: True),
        f"condition.function: got a function that does not take one argument; give {ASKED}",
    ),
    (asks("function"), f"condition.function: got nothing; give {ASKED}"),
    # conditions of conditions
    (asks("all_of"), f"condition.conditions: got nothing; give {CONDITIONS}"),
    (asks("any_of", conditions=[]), f"condition.conditions: got a list of 0; give {CONDITIONS}"),
    (asks("any_of", conditions={}), f"condition.conditions: got a dict of 0; give {CONDITIONS}"),
    (
        asks("any_of", conditions=[{"type": "plan", "plans": "free"}]),
        f"condition.conditions: got a list of 1; give {CONDITIONS}",
    ),
    (
        asks("all_of", conditions=[{"type": "plan", "plans": "free"}, {"type": "usage", "at": 0}]),
        f"condition.conditions[1].at: got 0 (int); give {LEVEL}",
    ),
    (
        asks("not", condition={"type": "usage", "limit": {"free": 1}, "at": 5}),
        f"condition.condition.limit: {STRANGER}; give {ASKS}",
    ),
    (asks("not"), "condition.condition: got nothing; give a condition"),
    (
        asks("not", condition="free"),
        'condition.condition: got "free" (str); give condition.query("SELECT … WHERE user_id = $1"), '
        'condition.usage(at=0.8), condition.plan("free"), condition.feature("priority_support"), '
        "condition.function(is_ready), condition.all_of(…, …), "
        "condition.any_of(…, …) or condition.not_(…)",
    ),
    (
        asks("allOf", conditions=[]),
        'condition.type: got "allOf" (str); give "query", "usage", "plan", "feature", "function", "all_of", '
        '"any_of" or "not"; '
        'did you mean "all_of"?',
    ),
    (
        {"trigger": EVENT, "condition": {}, "action": MAIL},
        'condition.type: got nothing; give "query", "usage", "plan", "feature", "function", "all_of", '
        '"any_of" or "not"',
    ),
    # actions
    (does("email", template="a", transactional=1), "action.transactional: got 1 (int); give True or False"),
    (does("email"), "action.template: got nothing; give the name of a template"),
    (hook(provider="https://acme.test"), f'action.provider: got "https://acme.test" (str); give {NOTIFIER}'),
    (hook(provider="CRM"), f'action.provider: got "CRM" (str); give {NOTIFIER}; did you mean "crm"?'),
    (hook(event=None), f"action.event: got None; give {EVENT_NAME}"),
    (does("webhook", event="x"), f"action.provider: got nothing; give {NOTIFIER}"),
    (
        does("webhook", provider="crm"),
        'action.event: got nothing; give the type of the event, such as "user.activated"',
    ),
    (hook(payload={"a": 5}), "action.payload.a: got 5 (int); give text"),
    (hook(payload={"a b": "x"}), 'action.payload["a b"]: got "a b" (str); give the name of a variable'),
    (hook(payload=5), "action.payload: got 5 (int); give text for each variable"),
    (
        hook(url="https://acme.test"),
        "action.url: got an unknown key; give one of type, provider, event, payload",
    ),
    (grant(units=0), f"action.units: got 0 (int); give {UNITS}"),
    (grant(units=True), f"action.units: got True (bool); give {UNITS}"),
    (grant(units=1.5), f"action.units: got 1.5 (float); give {UNITS}"),
    (grant(units="50"), f'action.units: got "50" (str); give {UNITS}'),
    (grant(units=2**63), f"action.units: got 9223372036854775808 (int); give {UNITS}"),
    (does("grant"), f"action.units: got nothing; give {UNITS}"),
    (grant(meter="Calls"), f'action.meter: got "Calls" (str); give {METER}; did you mean "calls"?'),
    (grant(expires="never"), f'action.expires: got "never" (str); give {DURATION}'),
    (grant(reason="a\nb"), 'action.reason: got "a\\nb" (str); give one line of up to 200 characters'),
    (
        grant(expire="90d"),
        "action.expire: got an unknown key; give one of type, units, meter, expires, reason; did "
        "you mean expires?",
    ),
    (does("function", function=5), f"action.function: got 5 (int); give {RUN}"),
    (
        does("function", function=print, repeatable="no"),
        'action.repeatable: got "no" (str); give True or False',
    ),
    (
        does("sms", to="ada"),
        'action.type: got "sms" (str); give "block", "email", "webhook", "grant" or "function"',
    ),
    ({"trigger": EVENT, "action": 5}, f"action: got 5 (int); give {ACTIONS}"),
    ({"trigger": EVENT, "action": []}, "action: got a list of 0; give an action, or a list of at least one"),
    (
        {"trigger": EVENT, "action": [MAIL, {"type": "grant", "units": 0}]},
        f"action[1].units: got 0 (int); give {UNITS}",
    ),
    ({"trigger": EVENT, "action": [[MAIL]]}, f"action[0]: got a list of 1; give {ACTIONS}"),
    (
        {"trigger": EVENT},
        'action: got nothing; give an action: action.block("You have reached your limit."), '
        'action.email("upgrade_prompt"), …',
    ),
    # the step
    (plain(cooldown=7), f'cooldown: got 7 (int); give {DURATION}; did you mean "7d"?'),
    (plain(maxFires=0), "maxFires: got 0 (int); give a whole number from 1 to 1,000,000"),
    (plain(max_fires=True), "max_fires: got True (bool); give a whole number from 1 to 1,000,000"),
    (plain(then=2), f'then: got 2 (int); give {DURATION}; did you mean "2d"?'),
    (plain(then={"type": "wait", "lenght": "2d"}), "then."),
    (plain(then={"type": "pause", "length": "2d"}), 'then.type: got "pause" (str); give "wait"'),
    (
        plain(cooldwn="7d"),
        "cooldwn: got an unknown key; give one of name, trigger, condition, action, then, cooldown",
    ),
    (
        plain(trigger="users"),
        'trigger: got "users" (str); give trigger.api("/api/features/*"), trigger.database("users", '
        'event="insert"), '
        'trigger.schedule("0 9 * * *"), trigger.webhook("crm", subject="data.user_id") or '
        'trigger.event("project.created")',
    ),
]


@pytest.mark.parametrize(("written", "said"), [pytest.param(one, said, id=said[:70]) for one, said in BAD])
def test_it_is_refused_where_it_stands(written: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_loop({"type": "activation", "steps": [written]})
    assert str(caught.value.faults[0]).startswith(f"steps[0].{said}")
    assert "; give " in str(caught.value.faults[0])
