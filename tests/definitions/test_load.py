"""The ways in: files, text and bytes that hold no loop, and anything at all."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.definitions import (
    DefinitionError,
    Loop,
    SkeneWarning,
    action,
    condition,
    define_loop,
    load_loop,
    step,
    trigger,
)

SEED = json.loads(Path(__file__).with_name("seed.json").read_text(encoding="utf-8"))
TEXT = json.dumps(SEED, indent=2)
FULL: Any = {
    "type": "activation",
    "goal": {"type": "event", "event": "done"},
    "steps": [
        {
            "trigger": {
                "type": "database",
                "table": "users",
                "event": "update",
                "columns": ["plan"],
                "where": {"plan": "free"},
                "capture": ["name"],
            },
            "condition": {
                "type": "all_of",
                "conditions": [
                    {"type": "query", "query": "SELECT 1 FROM a WHERE id = $1", "timeout": "5m"},
                    {"type": "not", "condition": {"type": "usage", "at": 0.8, "meter": "calls"}},
                    {"type": "any_of", "conditions": [{"type": "plan", "plans": ["free"]}] * 2},
                ],
            },
            "action": [
                {"type": "email", "template": "a", "personalization": {"name": "{{user.name}}"}},
                {"type": "webhook", "provider": "crm", "event": "x", "payload": {"a": "b"}},
                {"type": "grant", "units": 5, "expires": "1d"},
            ],
            "then": {"type": "wait", "length": "2d"},
            "cooldown": "1d",
            "maxFires": 3,
        },
        {"action": {"type": "email", "template": "b"}},
        {
            "trigger": {"type": "schedule", "cron": "0 9 * * *", "timezone": "UTC"},
            "condition": {"type": "query", "query": "SELECT * FROM users", "subject": "id", "maxRows": 10},
            "action": {"type": "email", "template": "c"},
        },
        {
            "trigger": {"type": "webhook", "source": "crm", "subject": "data.id"},
            "action": {"type": "email", "template": "d"},
        },
    ],
}


def message(source: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        load_loop(source)
    assert caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "line 1, column 1: got JSON that does not parse"),
        (TEXT.replace('"opinion":', '"opinion"'), "line 3, column 13: got JSON that does not parse"),
        (
            TEXT.replace("You've", "You've\n"),
            "line 21, column 27: got JSON that does not parse (Invalid control",
        ),
        (b'{"type": "\xff"}', "byte 10: got bytes that are no text; give JSON in UTF-8"),
        ("[" * 100_000, "JSON nested too deeply"),
        ('{"type": ' + "9" * 5000 + "}", "a number of thousands of digits"),
        ("[1, 2]", "got a list of 2; give an object such as"),
        ("null", "got None; give an object such as"),
        (5, "got 5 (int); give a mapping, JSON text, or the path of a .json file"),
        (None, "got None; give a mapping, JSON text"),
        ('{"type": "freemium", "type": "freemium"}', "type: got the key twice; give it once"),
    ],
)
def test_what_is_no_loop_is_refused(source: Any, words: str) -> None:
    assert words in message(source)


def test_a_plan_that_stands_twice_in_json_is_not_silently_the_last() -> None:
    text = TEXT.replace('"free": 100', '"free": 100, "free": 1000000')
    assert "steps[0].condition.limit.free: got the key twice; give it once" in message(text)


def test_a_file_is_named_in_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "loop.json"
    path.write_text("{}", encoding="utf-8")
    assert message(path).startswith(f"the loop in {path} has 2 faults:")
    assert message(str(path)).startswith(f"the loop in {path} has 2 faults:")


def test_a_file_that_cannot_be_read_is_said_to_be_that(tmp_path: Path) -> None:
    assert "got a path that cannot be read (No such file or directory)" in message(tmp_path / "none.json")
    assert "got a path that cannot be read (Is a directory)" in message(tmp_path)
    assert "got a path that no file can have" in message("a\0.json")


def test_any_path_like_object_will_do(tmp_path: Path) -> None:
    class Place(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(tmp_path / "loop.txt")

    (tmp_path / "loop.txt").write_text("\ufeff" + TEXT, encoding="utf-8")
    assert load_loop(Place()).to_json(indent=2) == TEXT


WORDS = """
    30d api usage block email fixed calendar /x Infinity database schedule webhook event query plan all_of
    any_of not function grant insert update plan.changed users
"""
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from([*WORDS.split(), "0 9 * * *", "SELECT 1", "\ud800"])
)
NAMES = """
    type name opinion steps recovery trigger condition action limit period free endpoint method message
    upgradePrompt upgrade_prompt template retries base length unit timezone notifyAt personalization
    event table columns where subject capture cron grace source query timeout maxRows at under plans changedTo
    conditions provider payload units expires then cooldown maxFires goal
"""
KEYS = st.text(max_size=5) | st.sampled_from(NAMES.split())
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


def loads_or_refuses(source: Any) -> None:
    refused = None
    try:
        loop = load_loop(source)
    except DefinitionError as error:
        refused = error
    else:
        assert isinstance(loop, Loop)
        assert load_loop(loop.to_json()) == loop
    if refused is not None:
        assert refused.faults
        assert str(refused).encode()


@given(ANYTHING)
def test_anything_is_loaded_or_refused(source: Any) -> None:
    loads_or_refuses(source if isinstance(source, dict) else {"type": "freemium", "steps": [source]})
    loads_or_refuses(json.dumps(source))


@given(st.text() | st.binary())
def test_any_text_is_loaded_or_refused(source: str | bytes) -> None:
    loads_or_refuses(source)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in below for place in places(inner, (*path, key)))]


@given(st.sampled_from(places(SEED)[1:]), ANYTHING)
def test_anything_anywhere_in_the_seed_is_loaded_or_refused(place: tuple[Any, ...], value: Any) -> None:
    loop = json.loads(TEXT)
    holder = loop
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    loads_or_refuses(loop)


@given(st.sampled_from(places(FULL)[1:]), ANYTHING)
def test_anything_anywhere_in_a_loop_of_every_kind_is_loaded_or_refused(
    place: tuple[Any, ...], value: Any
) -> None:
    loop = json.loads(json.dumps(FULL))
    holder = loop
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    loads_or_refuses(loop)


@given(st.sampled_from(places(FULL)[1:]), st.sampled_from(places(FULL)[1:]))
def test_any_part_of_it_in_the_place_of_another_is_loaded_or_refused(
    place: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    loop, value = json.loads(json.dumps(FULL)), FULL
    for key in other:
        value = value[key]
    holder = loop
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    loads_or_refuses(loop)


@given(ANYTHING, ANYTHING, ANYTHING)
def test_anything_in_python_makes_a_loop_or_is_refused(start: Any, ask: Any, do: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkeneWarning)  # a free plan without a limit is no fault
        try:
            one = step(
                trigger=trigger.database(start, event=ask, where=do, subject=start),
                condition=condition.all_of(
                    condition.query(ask, timeout=do),
                    condition.usage(at=start, meter=ask),
                    condition.plan(start, changed_to=ask),
                    condition.not_(ask),
                ),
                action=[action.grant(do), action.webhook(start, ask, payload=do), do],
                then=start,
                cooldown=ask,
                max_fires=do,
            )
            other = step(trigger=start, condition=ask, action=do)
            define_loop(type="activation", steps=[one, other], goal=start)
        except DefinitionError as error:
            assert error.faults  # noqa: PT017 - whether it is raised depends on what is drawn
