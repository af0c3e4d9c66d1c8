"""Values that look right and are not: refused with where, what was given and what is allowed."""

import math
import re
from datetime import timedelta
from typing import Any

import pytest

from skene.definitions import DefinitionError, load_loop
from tests.definitions.seeds import (
    BLOCK,
    ENDPOINT,
    FREE,
    METHOD,
    PAID,
    PERIOD,
    PROMPT,
    only_fault,
    place,
    seed_with,
)
from tests.definitions.written import query

BAD = [
    # limits
    (FREE, -1, "got -1 (int)", "≥ 0", "use 0 to block everyone"),
    (FREE, True, "got True (bool)", 'give a whole number ≥ 0 or "unlimited"'),
    (FREE, "100", 'got "100" (str)', "whole number", "did you mean 100?"),
    (FREE, 100.0, "got 100.0 (float)", "whole number", "did you mean 100?"),
    (FREE, 100.5, "got 100.5 (float)", "whole number"),
    (FREE, None, "got None", "whole number", 'did you mean "unlimited"?'),
    (FREE, [100], "got a list of 1", "whole number"),
    (FREE, "unlimitd", "whole number", 'did you mean "unlimited"?'),
    (FREE, "infinity", "whole number", 'did you mean "Infinity"?'),
    (FREE, "lots", "whole number"),
    (PAID, math.nan, "got nan (float)", "whole number"),
    (PAID, -math.inf, "got -inf (float)", "whole number"),
    (FREE, 2**63, "≤ 9,223,372,036,854,775,807", '"unlimited"'),
    (FREE, 10**30, "≤ 9,223,372,036,854,775,807", '"unlimited"'),
    (FREE, 10**5000, "digits", "≤ 9,223,372,036,854,775,807"),
    ("steps[0].condition.limit", {}, "got a dict of 0", "a limit for each plan"),
    ("steps[0].condition.limit", 100, "got 100 (int)", "a limit for each plan"),
    # steps
    ("steps", [], "got a list of 0", "at least one step"),
    ("steps", {}, "got a dict of 0", "at least one step"),
    ("steps", None, "got None", "at least one step"),
    ("steps", "steps", "at least one step"),
    ("steps[0]", "step", 'got "step" (str)', "step(condition="),
    ("steps[0].trigger", [], "got a list of 0", "trigger.api("),
    ("steps[0].condition", None, "got nothing in front of calls", "condition.usage("),
    (BLOCK, "block", 'got "block" (str)', "action.block("),
    # types
    ("type", "fremium", 'got "fremium" (str)', 'did you mean "freemium"?'),
    ("type", "Freemium", 'did you mean "freemium"?'),
    ("type", None, "got None", '"freemium"'),
    (
        "steps[0].trigger.type",
        "API",
        'got "API" (str)',
        '"api", "database", "schedule", "webhook" or "event"',
        'did you mean "api"?',
    ),
    (
        "steps[0].trigger.type",
        "shedule",
        '"api", "database", "schedule", "webhook" or "event"',
        'did you mean "schedule"?',
    ),
    ("steps[0].trigger.type", 1, "got 1 (int)", '"api", "database", "schedule", "webhook" or "event"'),
    ("steps[0].condition.type", "usag", 'did you mean "usage"?'),
    (BLOCK + ".type", "blok", 'did you mean "block"?'),
    (PROMPT + ".type", "e-mail", 'did you mean "email"?'),
    ("recovery", None, "got None", "Recovery("),
    ("recovery.backoff", "Fixed", '"exponential", "linear" or "fixed"', 'did you mean "fixed"?'),
    # keys
    ("steps[0].condition.limt", {}, "got an unknown key", "did you mean limit?"),
    (BLOCK + ".upgrade_promt", None, "got an unknown key", "did you mean upgrade_prompt?"),
    (BLOCK + ".upgradePromt", None, "got an unknown key", "did you mean upgradePrompt?"),
    (
        BLOCK + ".upgrade_prompt",
        {"type": "email", "template": "x"},
        "twice, as upgradePrompt and upgrade_prompt",
    ),
    ("recovery.type", "retry", "got an unknown key", "retries, backoff, base, cap"),
    ("xyzzy", 1, "got an unknown key", "one of type, name, opinion, steps, recovery"),
    # periods
    (PERIOD, "30", 'got "30" (str)', '"30d" or "1h30m"', 'did you mean "30d"?'),
    (PERIOD, 30, "got 30 (int)", 'did you mean "30d"?'),
    (PERIOD, 30.0, "got 30.0 (float)", '"30d"'),
    (PERIOD, True, "got True (bool)", '"30d"'),
    (PERIOD, 0, "got 0 (int)", '"30d"'),
    (PERIOD, "0d", 'got "0d" (str)', "from 1 second to 10 years"),
    (PERIOD, "-1d", 'got "-1d" (str)', '"30d"'),
    (PERIOD, "P1M", 'did you mean calendar("month")?'),
    (PERIOD, "P1Y", 'did you mean calendar("year")?'),
    (PERIOD, "1 month", 'did you mean calendar("month")?'),
    (PERIOD, "1y", 'did you mean calendar("year")?'),
    (PERIOD, "monthly", 'did you mean calendar("month")?'),
    (PERIOD, "week", 'did you mean calendar("week")?'),
    (PERIOD, "day", 'did you mean calendar("day")?'),
    (PERIOD, "30 D", 'did you mean "30d"?'),
    (PERIOD, "30 days", 'did you mean "30d"?'),
    (PERIOD, "PT5M", 'did you mean "5m"?'),
    (PERIOD, "5h30d", '"1h30m"', "in that order"),
    (PERIOD, "1d1d", "each once"),
    (PERIOD, "1.5h", '"1h30m"'),
    (PERIOD, "１d", 'got "１d" (str)', 'did you mean "1d"?'),
    (PERIOD, "", 'got "" (str)', '"30d"'),
    (PERIOD, "9" * 20 + "d", "from 1 second to 10 years"),
    (PERIOD, "9" * 5000 + "d", '"30d"'),
    (PERIOD, "3654d", "from 1 second to 10 years"),
    (PERIOD, timedelta(0), "got 0:00:00", "from 1 second"),
    (PERIOD, timedelta(days=-1), "from 1 second"),
    (PERIOD, timedelta(milliseconds=1500), "whole seconds"),
    (PERIOD, timedelta.max, "got 999999999 days", "whole seconds"),
    (PERIOD, None, "got None", '"30d"'),
    (PERIOD, [], "got a list of 0", 'rolling("30d")', "billing_cycle()"),
    # triggers
    (ENDPOINT, "api/x", 'got "api/x" (str)', 'did you mean "/api/x"?'),
    (ENDPOINT, "/api/**", "whole segment", 'did you mean "/api/*"?'),
    (ENDPOINT, "/api/v*", "whole segment", 'did you mean "/api/*"?'),
    (ENDPOINT, "*", 'did you mean "/*"?'),
    (ENDPOINT, "", 'got "" (str)', "a path such as"),
    (ENDPOINT, "/api/features/*?x", 'did you mean "/api/features/*"?'),
    (ENDPOINT, "/api/x#y", 'did you mean "/api/x"?'),
    (ENDPOINT, "https://example.org/api/x", 'did you mean "/api/x"?'),
    (ENDPOINT, "/api/features/", 'did you mean "/api/features"?'),
    (ENDPOINT, "//api//x", 'did you mean "/api/x"?'),
    (ENDPOINT, "/users/{user_id}/x", 'did you mean "/users/*/x"?'),
    (ENDPOINT, "/users/<id>", 'did you mean "/users/*"?'),
    (ENDPOINT, r"^/api/\d+$", "nothing else is a pattern"),
    (ENDPOINT, "/api/(a|b)", "nothing else is a pattern"),
    (ENDPOINT, "/api/.+", "nothing else is a pattern"),
    (ENDPOINT, "/api/[a-z]", "nothing else is a pattern"),
    (ENDPOINT, "/api/%66", "a path such as"),
    (ENDPOINT, "/api/../x", "a path such as"),
    (ENDPOINT, "/api/./x", "a path such as"),
    (ENDPOINT, "/api/a b", "a path such as"),
    (ENDPOINT, "/api/a\x00b", "a path such as"),
    (ENDPOINT, "/api/\ud800", "a path such as"),
    (ENDPOINT, "/" + "a" * 1000, "a path such as"),
    (ENDPOINT, 5, "got 5 (int)", "a path such as"),
    (METHOD, "FETCH", 'got "FETCH" (str)', '"GET"', 'did you mean "PATCH"?'),
    (METHOD, "Get ", 'did you mean "GET"?'),
    (METHOD, [], "got a list of 0", "leave it out"),
    (METHOD, "*", "leave it out to mean every method"),
    (METHOD, 5, "got 5 (int)", '"GET"'),
    ("steps[0].trigger.optional", "yes", 'got "yes" (str)', "True or False"),
    ("enforce", 1, "got 1 (int)", "True or False"),
    # conditions
    (
        "steps[0].condition.meter",
        "My Exports",
        'got "My Exports" (str)',
        "a-z 0-9",
        'did you mean "my_exports"?',
    ),
    ("steps[0].condition.meter", "", "a-z 0-9"),
    ("steps[0].condition.meter", "m" * 101, "text of 101 characters"),
    ("steps[0].condition.meter", 5, "got 5 (int)"),
    ("steps[0].condition.groupBy", "path", '"route"'),
    ("steps[0].condition.charge", "sucess", 'did you mean "success"?'),
    ("steps[0].condition.cost", 0, "got 0 (int)", "from 1 to 2**63-1", "function of the request"),
    ("steps[0].condition.cost", True, "got True (bool)"),
    ("steps[0].condition.cost", 1.5, "got 1.5 (float)"),
    ("steps[0].condition.cost", 2**63, "from 1 to 2**63-1"),
    ("steps[0].condition.cost", lambda: 1, "does not take one argument"),
    # actions
    (BLOCK + ".message", "", 'got "" (str)', "1 to 2,000 characters"),
    (BLOCK + ".message", " \n", "1 to 2,000 characters"),
    (BLOCK + ".message", "x" * 1_000_000, "text of 1,000,000 characters", "1 to 2,000 characters"),
    (BLOCK + ".message", "a\x00b", "1 to 2,000 characters"),
    (BLOCK + ".message", "\ud800", r'got "\ud800" (str)'),
    (BLOCK + ".message", None, "got None"),
    (BLOCK + ".statusCode", 200, "got 200 (int)", "400 to 499"),
    (BLOCK + ".statusCode", True, "got True (bool)"),
    (BLOCK + ".statusCode", "402", "400 to 499"),
    (BLOCK + ".notifyAt", 0.8, "got 0.8 (float)", "did you mean (0.8,)?"),
    (BLOCK + ".notifyAt", 80, "got 80 (int)", "above 0 and up to 1"),
    (BLOCK + ".warning", {"type": "email", "template": "x"}, "never sent", "notify_at"),
    (PROMPT + ".template", "../../x", 'got "../../x" (str)', "the name of a template"),
    (PROMPT + ".template", "/etc/x", "the name of a template"),
    (PROMPT + ".template", "a\\b", "the name of a template"),
    (PROMPT + ".template", "a//b", "the name of a template"),
    (PROMPT + ".template", "./a", "the name of a template"),
    (PROMPT + ".template", "a/.", "the name of a template"),
    (PROMPT + ".template", "a/", "the name of a template"),
    (PROMPT + ".template", "", "the name of a template"),
    (PROMPT + ".template", "a" * 201, "text of 201 characters"),
    (PROMPT + ".provider", "Send Grid", "the name of a notifier"),
    (PROMPT + ".provider", "", "the name of a notifier"),
    (PROMPT + ".subject", "Hi\r\nBcc: x@example.org", "one line"),
    (PROMPT + ".subject", "Hi\u2028", "one line"),
    (PROMPT + ".personalization", [], "got a list of 0", "text for each variable"),
    # the loop
    ("recovery.retries", -1, "got -1 (int)", "from 0 (one attempt, no more) to 100"),
    ("recovery.retries", True, "got True (bool)"),
    ("recovery.retries", 1e9, "got 1000000000.0 (float)"),
    ("recovery.retries", 101, "to 100"),
    ("recovery.base", 0, "got 0 (int)", "a duration"),
    ("recovery.base", "1 month", 'did you mean "30d"?'),
    ("recovery.base", "6m", "shorter than base, which is 6m"),
    ("holdout", 1, "got 1 (int)", "up to, but not, 1", "did you mean 0.01?"),
    ("holdout", -0.1, "from 0"),
    ("holdout", math.nan, "got nan (float)"),
    ("holdout", False, "got False (bool)"),
    ("type", "activate", '"freemium", "activation" or "retention"', 'did you mean "activation"?'),
    ("attribution", "0s", "from 1 second to 10 years"),
    ("name", "", "1 to 100 characters"),
    ("name", "x" * 101, "text of 101 characters"),
    ("name", "a\nb", "without control characters"),
    ("opinion", 5, "got 5 (int)", "2,000 characters"),
    ("steps[0].name", " ", "1 to 100 characters"),
]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [pytest.param(path, value, words, id=f"{path} {words}") for path, value, *words in BAD],
)
def test_it_is_refused_where_it_stands(path: str, value: object, words: list[str]) -> None:
    fault = only_fault(seed_with(path, value))
    where = "recovery.cap" if "shorter than base" in words[0] else path
    assert fault.startswith(f"{where}: got ")
    for word in words:
        assert word in fault
    assert "; give " in fault


BELOW = [
    ("steps[0].condition.limit", {"": 1}, 'steps[0].condition.limit[""]: ', "a plan's name"),
    ("steps[0].condition.limit", {5: 1}, "steps[0].condition.limit[5 (int)]: got 5 (int)", "a plan's name"),
    ("steps[0].condition.limit", {"a\n": 1}, r'steps[0].condition.limit["a\n"]: ', "a plan's name"),
    ("steps[0].condition.limit", {"my plan": -1}, 'steps[0].condition.limit["my plan"]: got -1', "≥ 0"),
    (METHOD, ["GET", "FETCH"], METHOD + '[1]: got "FETCH"', 'did you mean "PATCH"?'),
    (BLOCK + ".notifyAt", [0.5, 80], BLOCK + ".notifyAt[1]: got 80 (int)", "above 0 and up to 1"),
    (BLOCK + ".notifyAt", [0], BLOCK + ".notifyAt[0]: got 0 (int)", "above 0"),
    (BLOCK + ".notifyAt", [True], BLOCK + ".notifyAt[0]: got True (bool)", "above 0"),
    (BLOCK + ".notifyAt", [math.nan], BLOCK + ".notifyAt[0]: got nan", "above 0"),
    (BLOCK + ".notifyAt", [1, 0.5], BLOCK + ".notifyAt[1]: got 0.5 after 1", "ascending"),
    (BLOCK + ".notifyAt", [0.5, 0.5], BLOCK + ".notifyAt[1]: got 0.5 after 0.5", "each once"),
    (
        PROMPT + ".personalization",
        {"a b": ""},
        PROMPT + '.personalization["a b"]: ',
        "the name of a variable",
    ),
    (PROMPT + ".personalization", {"a": 5}, PROMPT + ".personalization.a: got 5 (int)", "give text"),
    (
        PERIOD,
        {},
        PERIOD + ".type: got nothing",
        '"fixed", "rolling", "calendar", "billing_cycle", "lifetime" or "held"',
    ),
    (PERIOD, {"type": "monthly"}, PERIOD + '.type: got "monthly"', '"calendar"'),
    (PERIOD, {"type": "calender", "unit": "month"}, PERIOD + ".type: got", 'did you mean "calendar"?'),
    (PERIOD, {"type": "fixed"}, PERIOD + ".length: got nothing", '"30d"'),
    (PERIOD, {"type": "rolling", "length": "1y"}, PERIOD + '.length: got "1y"', 'calendar("year")'),
    (PERIOD, {"type": "calendar"}, PERIOD + ".unit: got nothing", '"month"'),
    (PERIOD, {"type": "calendar", "unit": "Month"}, PERIOD + '.unit: got "Month"', 'did you mean "month"?'),
    (PERIOD, {"type": "lifetime", "length": "1d"}, PERIOD + ".length: got an unknown key", "one of type"),
    (
        "steps[0].trigger",
        {},
        "steps[0].trigger.type: got nothing",
        '"api", "database", "schedule", "webhook" or "event"',
    ),
    ("steps[0].trigger", {"type": "api"}, ENDPOINT + ": got nothing", "a path such as"),
    (
        "steps[0].condition",
        {"type": "usage", "period": "1d"},
        "steps[0].condition.limit: got nothing",
        "each plan",
    ),
    ("steps[0].condition", {"type": "usage", "limit": {"free": 1}}, PERIOD + ": got nothing", '"30d"'),
    (BLOCK, {"type": "block"}, BLOCK + ".message: got nothing", "2,000 characters"),
    (PROMPT, {"type": "email"}, PROMPT + ".template: got nothing", "upgrade_prompt"),
    ("recovery", {5: 1}, "recovery[5 (int)]: got an unknown key", "retries"),
    ("recovery", {"x" * 99: 1}, 'recovery["' + "x" * 59 + '…"]: got an unknown key', "retries"),
]


@pytest.mark.parametrize(("path", "value", "start", "word"), BELOW)
def test_it_is_refused_below_where_it_stands(path: str, value: object, start: str, word: str) -> None:
    fault = only_fault(seed_with(path, value))
    assert fault.startswith(start)
    assert word in fault


@pytest.mark.parametrize(
    "zone", ["PST", "EST", "Mars/X", "europe/helsinki", "Europe", "../etc/passwd", "a/\x00", 3]
)
def test_a_time_zone_is_an_iana_name(zone: Any) -> None:
    period = {"type": "calendar", "unit": "month", "timezone": zone}
    assert "an IANA time zone" in only_fault(seed_with(PERIOD, period))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("PST", "America/Los_Angeles"),
        ("cet", "Europe/Berlin"),
        ("europe/helsinki", "Europe/Helsinki"),
        ("Europe/Helsinky", "Europe/Helsinki"),
        ("America/New York", "America/New_York"),
    ],
)
def test_a_time_zone_nearby_is_named(given: str, meant: str) -> None:
    period = {"type": "calendar", "unit": "month", "timezone": given}
    assert f'did you mean "{meant}"?' in only_fault(seed_with(PERIOD, period))


def test_a_machine_without_time_zones_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skene.definitions.zones.available_timezones", set)
    period = {"type": "calendar", "unit": "month", "timezone": "Mars/X"}
    assert "pip install tzdata" in only_fault(seed_with(PERIOD, period))


@pytest.mark.parametrize(
    "path", ["type", "steps", "steps[0].condition", "steps[0].action", "steps[0].trigger.endpoint"]
)
def test_what_is_missing_is_named(path: str) -> None:
    loop = seed_with("opinion", "")
    holder, key = place(loop, path)
    del holder[key]
    assert re.match(rf"{re.escape(path)}: got nothing( in front of calls)?; give ", only_fault(loop))


def test_no_control_character_reaches_the_reader() -> None:
    for written in (seed_with("opinion", "A\x1b[2J"), query(query="\x1b[2J")):
        source = written if "type" in written else {"type": "activation", "steps": [written]}
        with pytest.raises(DefinitionError) as caught:
            load_loop(source)
        assert all(str(fault).isprintable() for fault in caught.value.faults)
