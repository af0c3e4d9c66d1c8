"""Anything at all, given to the definitions: a loop that comes back the same, or our error and no other."""

import inspect
import json
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.definitions import (
    DefinitionError,
    Loop,
    Recovery,
    SkeneWarning,
    action,
    billed,
    calendar,
    condition,
    define_loop,
    dump_loop,
    load_loop,
    rolling,
    step,
    trigger,
    wait,
)
from tests.definitions.seeds import ACTIVATION, RETENTION, SEED
from tests.definitions.written import database, grant, hook, query, schedule, webhook
from tests.support.extent import extent, seeded

SECRET = "sk_live_51Marker0never0shown"
LONGEST = 1000
"""Characters of one fault; a line that is longer nobody reads."""
SEEDS: list[dict[str, Any]] = [json.loads(seed.read_text("utf-8")) for seed in (SEED, ACTIVATION, RETENTION)]
SEEDS += [
    {"type": "activation", "steps": [written(), written()]}
    for written in (database, schedule, webhook, query, hook, grant)
]


def keys_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_in(part)


KEYS = sorted({key for seed in SEEDS for key in keys_in(seed)})
WORDS = (
    "api",
    "usage",
    "block",
    "email",
    "30d",
    "POST",
    "/api/*",
    "free",
    "Infinity",
    "1h30m",
    "NaN",
    "",
    SECRET,
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from((0, 1, 2**63, -1)),
    st.just(5000).map(lambda digits: 10**digits),
    st.floats(),
    st.text(max_size=200),
    st.sampled_from(WORDS),
    st.characters(codec=None).map(lambda one: one * 300),
)
odd = st.sampled_from(
    (
        object(),
        b"bytes",
        {1, 2},
        Decimal(3),
        1j,
        timedelta(days=30),
        datetime(2026, 1, 1, tzinfo=UTC),
        int,
        len,
    )
)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=9), inner, max_size=5)
    ),
    max_leaves=12,
)
values = st.recursive(
    scalars | odd,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from(KEYS) | st.integers() | st.text(max_size=9), inner, max_size=5)
    ),
    max_leaves=12,
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    if here:
        yield here
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from paths(part, (*here, key))


@st.composite
def mutated(draw: st.DrawFn, parts: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A loop that is right, but for one to three places."""
    loop: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from(SEEDS))))
    for _ in range(draw(st.integers(1, 3))):
        places = list(paths(loop))
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder: Any = loop
        for key in way:
            holder = holder[key]
        what = draw(st.sampled_from(("replace", "replace", "remove", "rename", "wrap")))
        if what == "replace":
            holder[last] = draw(parts)
        elif what == "remove":
            del holder[last]
        elif what == "wrap":
            holder[last] = [holder[last]]
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(KEYS) | st.text(max_size=9))] = holder.pop(last)
    return loop


def tried(make: Callable[[], Any]) -> Any:
    """What comes of it; None where it was refused as it has to be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkeneWarning)
        try:
            return make()
        except DefinitionError as error:
            refused = error
    assert refused.faults
    assert SECRET not in f"{refused} {refused!r}"
    for fault in refused.faults:
        assert len(str(fault)) < LONGEST
        assert str(fault).isprintable()
    return None


def comes_back(loop: Loop) -> None:
    dumped = dump_loop(loop)
    assert load_loop(dumped) == loop
    again = load_loop(json.dumps(dumped))
    assert again == loop
    assert json.dumps(dump_loop(again)) == json.dumps(dumped)


@seeded
@extent(400, 50_000)
@given(source=values | st.text() | st.binary() | st.binary().map(lambda some: b"{" + some + b"}"))
def test_anything_is_loaded_or_refused(source: Any) -> None:
    loop = tried(lambda: load_loop(source))
    assert loop is None or isinstance(loop, Loop)


@seeded
@extent(400, 50_000)
@given(document=mutated(json_values), as_text=st.booleans())
def test_a_loop_with_something_else_in_it_comes_back_or_is_refused(document: Any, as_text: bool) -> None:
    try:
        source = json.dumps(document) if as_text else document
    except ValueError:  # a number that Python does not write out
        source = document
    loop = tried(lambda: load_loop(source))
    if loop is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SkeneWarning)
            comes_back(loop)


@seeded
@extent(200, 20_000)
@given(document=mutated(values))
def test_no_python_value_in_it_raises_anything_else(document: Any) -> None:
    tried(lambda: load_loop(document))


CONSTRUCTORS: tuple[Callable[..., Any], ...] = (
    define_loop,
    step,
    wait,
    Recovery,
    billed,
    rolling,
    calendar,
    *(
        getattr(space, name)
        for space in (trigger, condition, action)
        for name in space.__all__
        if name.islower()
    ),
)


@pytest.mark.parametrize("make", CONSTRUCTORS, ids=lambda make: f"{make.__module__}.{make.__name__}")
@seeded
@extent(40, 3000)
@given(data=st.data())
def test_a_constructor_raises_nothing_else(make: Callable[..., Any], data: st.DataObject) -> None:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for one in inspect.signature(make).parameters.values():
        if one.kind is one.VAR_POSITIONAL:
            positional += data.draw(st.lists(values, max_size=3), one.name)
        elif one.kind is one.VAR_KEYWORD:
            continue
        elif one.default is one.empty or data.draw(st.booleans(), f"with {one.name}"):
            named[one.name] = data.draw(values, one.name)
            if one.kind is one.POSITIONAL_ONLY:
                positional.append(named.pop(one.name))
    tried(lambda: make(*positional, **named))


def test_a_definition_that_lets_others_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a reader with a mistake in it."""
    monkeypatch.setattr("skene.definitions.load.as_mapping", dict)
    with pytest.raises((AssertionError, TypeError, ValueError)):
        test_anything_is_loaded_or_refused()
