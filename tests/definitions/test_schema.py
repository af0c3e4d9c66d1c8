"""The schema of a loop never refuses what loads, and sees most of what does not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic.alias_generators import to_camel, to_snake

from skene.definitions import Definition, DefinitionError, load_loop
from skene.definitions.schema import loop_schema
from tests.definitions.seeds import ACTIVATION, RETENTION, SEED, seed_with
from tests.definitions.test_bad_parts import BAD as BAD_PARTS
from tests.definitions.test_bad_values import BAD as BAD_VALUES
from tests.definitions.test_load import ANYTHING, FULL, places
from tests.definitions.test_seed import WRITTEN

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = loop_schema()
CHECK = Draft202012Validator(SCHEMA)
DOCUMENTS = [SEED, ACTIVATION, RETENTION, *sorted((ROOT / "examples").rglob("*.json"))]


def loads(document: Any) -> bool:
    try:
        load_loop(json.dumps(document))
    except DefinitionError:
        return False
    return True


def is_fine(document: Any) -> bool:
    """Whether an editor would find nothing: what it reads is JSON, in which a tuple is a list."""
    return CHECK.is_valid(json.loads(json.dumps(document)))


def test_it_is_a_schema_of_2020_12_and_json() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA, allow_nan=False)) == SCHEMA


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_seeds_and_the_examples_are_fine(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert loads(document)
    assert [error.message for error in CHECK.iter_errors(document)] == []


@pytest.mark.parametrize("document", [WRITTEN, FULL], ids=["written", "full"])
def test_every_way_to_write_a_part_is_fine(document: Any) -> None:
    assert loads(document)
    assert [error.message for error in CHECK.iter_errors(json.loads(json.dumps(document)))] == []


def test_both_spellings_and_every_infinity_are_fine() -> None:
    prompt = {"type": "email", "template": "upgrade_prompt"}
    document = seed_with("steps[0].action.upgrade_prompt", prompt)
    del document["steps"][0]["action"]["upgradePrompt"]
    for unlimited in ("Infinity", "unlimited", float("inf")):
        document["steps"][0]["condition"]["limit"]["paid"] = unlimited
        assert loads(document)
        assert is_fine(document)


def snake(keys: Any) -> Any:
    """A document with each key in the other spelling."""
    if isinstance(keys, list):
        return [snake(one) for one in keys]
    if not isinstance(keys, dict):
        return keys
    return {to_snake(key): snake(value) for key, value in keys.items()}


def test_a_whole_loop_in_snake_case_is_fine() -> None:
    assert "max_fires" in json.dumps(snake(FULL))
    assert loads(snake(FULL))
    assert is_fine(snake(FULL))


def corpus() -> Iterator[Any]:
    """Loops with one thing wrong, as the tests of `load_loop` have them."""
    for path, value, *_ in BAD_VALUES:
        yield seed_with(path, value)
    for written, _ in BAD_PARTS:
        yield {"type": "activation", "steps": [written]}


def is_json(document: Any) -> bool:
    try:
        json.dumps(document)
    except (TypeError, ValueError):
        return False
    return True


def test_most_of_what_does_not_load_is_seen_by_the_schema() -> None:
    wrong = [document for document in corpus() if is_json(document) and not loads(document)]
    seen = sum(not is_fine(document) for document in wrong)
    assert len(wrong) > 280
    assert seen > 200  # the others are for code alone: a date that never comes, what fits together


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("type", "premium", ["type"]),
        ("stepps", [], []),
        ("steps", [], ["steps"]),
        ("steps[0].trigger.type", "htp", ["steps", 0, "trigger", "type"]),
        ("steps[0].trigger.endpoint", "api/x", ["steps", 0, "trigger", "endpoint"]),
        ("steps[0].trigger.method", "FETCH", ["steps", 0, "trigger", "method"]),
        ("steps[0].condition.limt", {}, ["steps", 0, "condition"]),
        ("steps[0].condition.limit.free", "100", ["steps", 0, "condition", "limit", "free"]),
        ("steps[0].condition.limit.free", -1, ["steps", 0, "condition", "limit", "free"]),
        ("steps[0].condition.period", "30 days", ["steps", 0, "condition", "period"]),
        ("steps[0].condition.period", 30, ["steps", 0, "condition", "period"]),
        ("steps[0].action.message", "", ["steps", 0, "action", "message"]),
        ("steps[0].action.upgradePrompt.template", 5, ["steps", 0, "action", "upgradePrompt", "template"]),
        ("recovery.retries", 101, ["recovery", "retries"]),
    ],
)
def test_what_is_wrong_is_shown_where_it_stands(path: str, value: Any, where: list[Any]) -> None:
    places_ = {tuple(error.absolute_path) for error in CHECK.iter_errors(seed_with(path, value))}
    assert tuple(where) in places_


@given(st.sampled_from(places(FULL)[1:]), ANYTHING)
def test_what_it_refuses_does_not_load(place: tuple[Any, ...], value: Any) -> None:
    document = json.loads(json.dumps(FULL))
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    assert is_fine(document) or not loads(document)


@given(st.sampled_from(places(FULL)[1:]), st.sampled_from(places(FULL)[1:]))
def test_what_it_refuses_of_parts_in_other_places_does_not_load(
    place: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    document, value = json.loads(json.dumps(FULL)), FULL
    for key in other:
        value = value[key]
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    assert is_fine(document) or not loads(document)


def test_every_key_of_every_kind_is_in_it() -> None:
    """And says what it is, for people who point at it."""
    kinds = {
        kind.__name__: kind for kind in definitions(Definition) if "function" not in kind.__name__.lower()
    }
    for name, kind in kinds.items():
        part = SCHEMA if name == "Loop" else SCHEMA["$defs"][name]
        assert list(part["properties"]) == [to_camel(field) for field in kind.model_fields]
        assert part["description"]
        for key, one in part["properties"].items():
            assert key == "type" or one.get("description") or "$ref" in one or kind.__name__ in FEW, (
                name,
                key,
            )


FEW = ("CalendarPeriod", "RollingPeriod", "FixedPeriod", "AllCondition", "AnyCondition", "NotCondition")
"""Kinds whose sentence says all of their keys."""


def definitions(kind: type[Definition]) -> Iterator[type[Definition]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith("skene."):
            yield below
            yield from definitions(below)
