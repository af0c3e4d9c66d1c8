"""Steps as JSON has them, with the keys that a test is about, and words that faults share."""

from typing import Any

EVENT = {"type": "event", "event": "x"}
MAIL = {"type": "email", "template": "a"}


def database(**keys: Any) -> Any:
    return {"trigger": {"type": "database", "table": "users", "event": "insert", **keys}, "action": MAIL}


def schedule(**keys: Any) -> Any:
    scan = {"type": "query", "query": "SELECT 1"}
    return {"trigger": {"type": "schedule", "cron": "0 9 * * *", **keys}, "condition": scan, "action": MAIL}


def webhook(**keys: Any) -> Any:
    return {"trigger": {"type": "webhook", "source": "crm", "subject": "id", **keys}, "action": MAIL}


def event(**keys: Any) -> Any:
    return {"trigger": {"type": "event", "event": "x", **keys}, "action": MAIL}


def asks(kind: str, **keys: Any) -> Any:
    return {"trigger": EVENT, "condition": {"type": kind, **keys}, "action": MAIL}


def query(**keys: Any) -> Any:
    return asks("query", **({"query": "SELECT 1"} | keys))


def does(kind: str, **keys: Any) -> Any:
    return {"trigger": EVENT, "action": {"type": kind, **keys}}


def hook(**keys: Any) -> Any:
    return does("webhook", **({"provider": "crm", "event": "x"} | keys))


def grant(**keys: Any) -> Any:
    return does("grant", **({"units": 5} | keys))


def plain(**keys: Any) -> Any:
    return {"trigger": EVENT, "action": MAIL, **keys}


def without(written: Any, part: str, key: str) -> Any:
    return written | {part: {name: value for name, value in written[part].items() if name != key}}


TABLE = 'a table such as "users" or "shop.orders"'
COLUMN = 'the name of a column, such as "user_id"'
COLUMNS = 'a list of columns, such as ["status"]'
EVENT_NAME = 'the name of an event such as "project.created" (A-Z a-z 0-9 _ . : -, up to 100)'
SOURCE = 'the name of a source in Skene(sources=…), such as "crm" (a-z 0-9 _ -, a letter first)'
SUBJECT = 'where the payload names the subject, such as "data.user_id"'
LEVEL = "a share of the limit above 0 and up to 1.0, with a point, or a whole number of units from 1"
METER = "a name of 1 to 100 of the characters a-z 0-9 _ . : -"
PLAN = "a plan's name of 1 to 100 characters, without control characters"
NOTIFIER = 'the name of a notifier such as "resend" (a-z 0-9 _ -, a letter first)'
UNITS = "a whole number from 1 to 2**63-1"
ASKED = "a function of one argument, the occasion, that returns True or False; it may be async"
RUN = "a function of one argument, the occasion; it may be async"
DURATION = 'a duration such as "30d" or "1h30m" (units w, d, h, m, s, each once, in that order)'
CONDITIONS = "a list of two conditions or more"
ACTIONS = (
    'action.block("You have reached your limit."), action.email("upgrade_prompt"), '
    'action.webhook("crm", "user.activated"), action.grant(50, expires="90d") or action.function(tell_sales)'
)
ASKS = "it to a condition with limit and period, which counts; at and under only ask"
COUNTS = "it to a condition without limit and period: this one counts, at and under only ask"
STRANGER = "got a key that does not go with the others"
