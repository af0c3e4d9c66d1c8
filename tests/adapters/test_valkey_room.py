"""How long ValkeyStorage keeps what it counts, and that it counts exactly beyond what Lua can."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from valkey.asyncio import Valkey

from skene.adapters.memory import MemoryStorage
from skene.adapters.valkey import ValkeyStorage, wire
from skene.adapters.valkey.scripts import CONSUME
from skene.engine.window import EPOCH, FOREVER, Anchored, Edges, Rolling, WindowRule
from skene.ports.retention import KEPT
from skene.testing.conformance.base import call, charge
from tests.support.valkey import ValkeyServer


@pytest.fixture(scope="module")
def shared() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


async def ttl(server: ValkeyServer, subject: str, prefix: str) -> timedelta | None:
    """For how long a subject is kept if it is heard of no more; None: for ever."""
    told = int(server.say("PTTL", wire.keys_of(prefix, subject)[0]).split()[-1])
    return None if told < 0 else timedelta(milliseconds=told)


SOON = timedelta(seconds=20)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (Anchored(timedelta(hours=1)), timedelta(hours=2)),
        # Its end only says when the first use leaves it: the others count for longer.
        (Rolling(timedelta(hours=1)), timedelta(hours=2)),
        (Edges(()), None),
    ],
)
async def test_a_subject_takes_no_room_for_ever(
    shared: ValkeyServer, rule: WindowRule, kept: timedelta | None
) -> None:
    """What contract of `prune` says goes by itself: the server forgets it."""
    prefix = f"room {rule}"
    storage = ValkeyStorage(shared.url, storage=MemoryStorage(), prefix=prefix)
    await storage.peek(call())
    looked = await ttl(shared, "ada", prefix)
    assert looked is not None
    assert looked <= timedelta(days=1)
    await storage.consume(call(charge(rule=rule)))
    left = await ttl(shared, "ada", prefix)
    if kept is None:
        assert left is None
    else:
        assert left is not None
        assert kept + KEPT - SOON < left < kept + KEPT + timedelta(minutes=2)  # two parts
        await storage.consume(call(charge(meter="other", rule=Anchored(timedelta(minutes=1)))))
        after = await ttl(shared, "ada", prefix)
        assert after is not None
        assert after > left - SOON
    await storage.aclose()


async def test_what_lasts_is_pruned_piece_by_piece(shared: ValkeyServer) -> None:
    """A subject that cannot leave by itself: the moment at which each of its counters goes is noted."""
    storage = ValkeyStorage(shared.url, storage=MemoryStorage(), prefix="lasts")
    await storage.consume(call(charge(rule=Anchored(timedelta(hours=1)))))
    ends = wire.keys_of("lasts", "ada")[5]
    assert shared.say("ZCARD", ends) == "0"
    await storage.consume(call(charge(meter="ever", rule=Edges(()))))
    assert shared.say("ZRANGE", ends, "0", "-1").startswith("ada")
    assert await storage.prune() == 0
    await storage.aclose()


NUMBERS = CONSUME.text.partition("-- A counter of a subject")[0]
numbers = st.integers(0, 2**63 - 1) | st.integers(2**53 - 3, 2**53 + 3) | st.integers(0, 10**10 + 10)


@given(pairs=st.lists(st.tuples(numbers, numbers), min_size=50, max_size=50))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_numbers_are_exact(shared: ValkeyServer, pairs: list[tuple[int, int]]) -> None:
    """Lua's own are so up to 2**53 only."""
    script = f"""{NUMBERS}
    local told = {{}}
    for place = 1, #ARGV, 2 do
      local a, b = ARGV[place], ARGV[place + 1]
      told[#told + 1] = table.concat({{plus(a, b), minus(a, b), smaller(a, b), greater(a, b)}}, ' ')
    end
    return told"""
    client = Valkey.from_url(shared.url, decode_responses=True)
    told = await client.execute_command("EVAL", script, 0, *(str(n) for pair in pairs for n in pair))
    await client.aclose()
    for (a, b), answer in zip(pairs, told, strict=True):
        assert list(map(int, answer.split())) == [a + b, max(0, a - b), min(a, b), max(a, b)]


async def test_lua_itself_is_not(shared: ValkeyServer) -> None:
    """The control."""
    answer = shared.say("EVAL", "return string.format('%.0f', ARGV[1] + ARGV[2])", "0", str(2**53), "1")
    assert int(answer) == 2**53


async def test_limits_beyond_2_to_the_53(shared: ValkeyServer) -> None:
    storage = ValkeyStorage(shared.url, storage=MemoryStorage(), prefix="large")
    limit = 2**60 + 1
    first = await storage.consume(call(charge(limit, cost=2**60)))
    assert (first.tallies[0].used, first.tallies[0].limit) == (2**60, limit)
    assert (await storage.consume(call(charge(limit)))).tallies[0].used == limit
    assert not (await storage.consume(call(charge(limit)))).admitted
    await storage.aclose()


def test_instants_are_as_they_were() -> None:
    for at in (EPOCH, FOREVER, EPOCH + timedelta(microseconds=1)):
        assert wire.from_micros(wire.micros(at)) == at
