"""ValkeyStorage when Valkey is away, slow, full, closed, or being moved; and what it refuses at the start."""

import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import anyio
import pytest
from valkey.asyncio import Valkey
from valkey.asyncio import ValkeyCluster as ClusterClient

from skene.adapters.memory import MemoryStorage
from skene.adapters.valkey import ValkeyStorage, wire
from skene.errors import ConfigurationError, StorageUnavailable
from skene.testing.conformance.base import call, charge, used
from tests.support.valkey import SLOTS, ValkeyCluster, ValkeyServer


@pytest.fixture(scope="module")
def shared() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """One to be broken."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster() as cluster:
        yield cluster


async def opened(url: str) -> ValkeyStorage:
    storage = ValkeyStorage(url, storage=MemoryStorage())
    await storage.start()
    return storage


@pytest.fixture
async def storage(server: ValkeyServer) -> AsyncIterator[ValkeyStorage]:
    storage = await opened(server.url)
    yield storage
    await storage.aclose()


# --- away ---


async def test_a_server_that_is_away(server: ValkeyServer, storage: ValkeyStorage) -> None:
    """Decision 28; and once it is back it counts again, with nobody's help."""
    await storage.consume(call())
    server.stop()
    for verb in (storage.consume, storage.peek):
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            await verb(call())
    server.start()
    assert (await storage.consume(call())).admitted


async def test_a_server_that_does_not_answer(server: ValkeyServer, storage: ValkeyStorage) -> None:
    """Decision 28, F11: within 2 s, however many wait."""
    await storage.consume(call())
    server.freeze()
    failed = 0

    async def one() -> None:
        nonlocal failed
        with pytest.raises(StorageUnavailable):
            await storage.consume(call(charge(None)))
        failed += 1

    try:
        with anyio.fail_after(3):
            async with anyio.create_task_group() as group:
                for _ in range(100):
                    group.start_soon(one)
    finally:
        server.thaw()
    assert failed == 100
    assert (await storage.consume(call(charge(None)))).admitted


async def test_what_sql_knows_can_be_changed_while_valkey_is_away(
    server: ValkeyServer, storage: ValkeyStorage
) -> None:
    from skene.testing.conformance.base import PAYING, set_plan

    server.stop()
    assert (await set_plan(storage, PAYING)).after == "paid"
    server.start()
    assert (await storage.consume(call(charge(0)))).plan == "paid"


async def test_nobody_listens_at_the_start(server: ValkeyServer) -> None:
    server.stop()
    with pytest.raises(StorageUnavailable):
        await opened(server.url)
    server.start()


@pytest.mark.parametrize(
    ("setting", "value", "back"),
    [
        ("min-replicas-to-write", "1", "0"),  # NOREPLICAS
        ("maxmemory", "1", "0"),  # OOM
    ],
)
async def test_a_server_that_takes_no_writes(
    server: ValkeyServer, storage: ValkeyStorage, setting: str, value: str, back: str
) -> None:
    """An outage is never shown as a limit, and nothing is half done."""
    await storage.consume(call())
    server.say("CONFIG", "SET", setting, value)
    with pytest.raises(StorageUnavailable, match="cannot count now"):
        await storage.consume(call())
    server.say("CONFIG", "SET", setting, back)
    assert await used(storage) == 1


async def test_a_replica(server: ValkeyServer, storage: ValkeyStorage) -> None:
    await storage.consume(call())
    server.say("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StorageUnavailable):
        await storage.consume(call())
    server.say("REPLICAOF", "NO", "ONE")
    assert await used(storage) == 1


async def test_a_server_that_has_forgotten_the_functions(
    server: ValkeyServer, storage: ValkeyStorage
) -> None:
    await storage.consume(call())
    server.say("SCRIPT", "FLUSH")
    assert (await storage.consume(call())).tallies[0].used == 2


async def test_a_server_that_was_restarted_with_what_it_had_on_disk() -> None:
    """`appendfsync always`: what was acknowledged is there after a crash."""
    with ValkeyServer(appendonly="yes", appendfsync="always") as server:
        storage = await opened(server.url)
        async with anyio.create_task_group() as group:
            for _ in range(50):  # over several connections
                group.start_soon(storage.consume, call())
        server.stop()
        server.start()
        with pytest.raises(StorageUnavailable):
            await used(storage)
        for _ in range(20):
            assert await used(storage) == 50
        await storage.aclose()


# --- refused at the start ---


async def test_a_wrong_password() -> None:
    with ValkeyServer(requirepass="open sesame") as server:
        storage = await opened(server.url.replace("unix://", "unix://:open%20sesame@"))
        assert (await storage.consume(call())).admitted
        await storage.aclose()
        for url in (server.url, server.url.replace("unix://", "unix://:wrong@")):
            with pytest.raises(ConfigurationError, match="does not let skene in") as told:
                await opened(url)
            assert "sesame" not in str(told.value)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_throws_keys_away(policy: str) -> None:
    """An evicted counter is a limit that begins anew."""
    with ValkeyServer(maxmemory="64mb", maxmemory_policy=policy) as server:
        with pytest.raises(ConfigurationError, match="noeviction"):
            await opened(server.url)
        server.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
        storage = await opened(server.url)
        await storage.aclose()


async def test_every_node_is_looked_at(cluster: ValkeyCluster) -> None:
    node = cluster.nodes[2]
    node.say("CONFIG", "SET", "maxmemory", "64mb")
    node.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(ConfigurationError, match="noeviction"):
        await opened(cluster.url)


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "valkey://", ""])
def test_other_addresses(url: str) -> None:
    with pytest.raises(ConfigurationError, match="valkey://host:port"):
        ValkeyStorage(url, storage=MemoryStorage())


def test_an_address_is_not_repeated() -> None:
    """L31: it may hold a password."""
    storage = ValkeyStorage("valkey://:secret@localhost", storage=MemoryStorage())
    assert "secret" not in repr(storage)
    with pytest.raises(ConfigurationError) as told:
        ValkeyStorage("secret@localhost", storage=MemoryStorage())
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio_is_refused(shared: ValkeyServer) -> None:
    storage = ValkeyStorage(shared.url, storage=MemoryStorage())
    for verb in (storage.start, partial(storage.consume, call())):
        with pytest.raises(ConfigurationError, match="asyncio"):
            await verb()


async def test_a_user_with_no_more_rights_than_the_page_says() -> None:
    with ValkeyServer() as server:
        rights = ("~{skene:*", "+@read", "+@write", "+@scripting", "+@connection", "+info", "+time")
        server.say("ACL", "SETUSER", "skene", "on", ">open", *rights)
        server.say("ACL", "SETUSER", "default", "off")
        storage = await opened(server.url.replace("unix://", "unix://skene:open@"))
        await storage.consume(call(charge(meter="calls@bob"), subject="visitor", key="k"))
        await storage.merge("visitor", "ada")
        assert await storage.meters("ada") == ("calls@bob",)
        assert await storage.prune() == 0
        assert await storage.forget("bob") == 1
        assert await storage.forget("ada") >= 1
        await storage.aclose()
        narrow = ValkeyStorage(
            server.url.replace("unix://", "unix://skene:open@"), storage=MemoryStorage(), prefix="other"
        )
        await narrow.start()
        with pytest.raises(ConfigurationError, match="does not let skene in"):
            await narrow.consume(call())
        await narrow.aclose()


# --- clients of one's own ---


async def test_a_client_of_ones_own_is_left_open(shared: ValkeyServer) -> None:
    client = Valkey.from_url(shared.url, decode_responses=True)
    storage = ValkeyStorage(client, storage=MemoryStorage(), prefix="own")
    await storage.start()
    assert (await storage.consume(call(key="k"))).admitted
    assert await storage.meters("ada") == ("calls",)
    await storage.aclose()
    assert await client.ping()
    await client.aclose()


async def test_a_clusters_client_of_ones_own() -> None:
    """They send again what was perhaps counted."""
    client: Any = ClusterClient.from_url("valkey://localhost")
    with pytest.raises(ConfigurationError, match="it takes an address, also of a cluster"):
        ValkeyStorage(client, storage=MemoryStorage())


def test_one_event_loop_after_another(shared: ValkeyServer) -> None:
    storage = ValkeyStorage(shared.url, storage=MemoryStorage(), prefix="loops")

    async def count() -> int:
        counted = await storage.consume(call())
        await storage.aclose()
        return counted.tallies[0].used

    assert [anyio.run(count) for _ in range(3)] == [1, 2, 3]


# --- a cluster ---


async def test_subjects_are_spread_over_the_cluster(cluster: ValkeyCluster) -> None:
    storage = await opened(cluster.url)
    for number in range(60):
        await storage.consume(call(subject=f"subject {number}", key="k"))
    await storage.aclose()
    assert all(int(node.say("DBSIZE").split()[-1]) >= 20 for node in cluster.nodes)


async def test_slots_that_move_while_everybody_counts(cluster: ValkeyCluster) -> None:
    """Resharding, as operators do it: MOVED, ASK and TRYAGAIN, and every call is counted once."""
    storage = await opened(cluster.url)
    names = [f"subject {number}" for number in range(20)]
    counted, unanswered = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    moved = False

    async def count(name: str) -> None:
        while not moved or counted[name] < 20:
            try:
                await storage.consume(call(charge(None), subject=name))
            except StorageUnavailable:
                unanswered[name] += 1
            else:
                counted[name] += 1

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(count, name)
        slots = {slot_of(cluster, name) for name in names}
        for slot in sorted(slots):
            await anyio.to_thread.run_sync(move_slot, cluster, slot)
        moved = True
    for name in names:
        units = await used(storage, charge(None), subject=name)
        assert counted[name] <= units <= counted[name] + unanswered[name]  # L2
    assert sum(unanswered.values()) < sum(counted.values()) / 100
    await storage.aclose()


def slot_of(cluster: ValkeyCluster, subject: str) -> int:
    return int(cluster.nodes[0].say("CLUSTER", "KEYSLOT", wire.keys_of("skene", subject)[0]).split()[-1])


def move_slot(cluster: ValkeyCluster, slot: int) -> None:
    """To the next node."""
    place = slot // (SLOTS // 3) % 3
    source, target = cluster.nodes[place], cluster.nodes[(place + 1) % 3]
    number, ours = str(slot), source.say("CLUSTER", "MYID")
    theirs = target.say("CLUSTER", "MYID")
    target.say("CLUSTER", "SETSLOT", number, "IMPORTING", ours)
    source.say("CLUSTER", "SETSLOT", number, "MIGRATING", theirs)
    while keys := source.say("CLUSTER", "GETKEYSINSLOT", number, "100").splitlines():
        source.say("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
    for node in (target, source):
        node.say("CLUSTER", "SETSLOT", number, "NODE", theirs)


async def test_a_replica_takes_over() -> None:
    """A primary that crashes is away for a while, and then its replica counts on."""
    with ValkeyCluster(replicas=True) as cluster:
        storage = await opened(cluster.url)
        names = [f"subject {number}" for number in range(12)]
        for name in names:
            await storage.consume(call(subject=name))
        for node in cluster.nodes:
            node.say("WAIT", "1", "5000")
        cluster.nodes[1].stop()
        deadline = time.monotonic() + 30
        for name in names:
            while True:
                try:
                    counted = await storage.consume(call(subject=name))
                    break
                except StorageUnavailable:
                    assert time.monotonic() < deadline
                    await anyio.sleep(0.1)
            assert counted.tallies[0].used >= 2  # one that was not answered may have been counted
        await storage.aclose()
