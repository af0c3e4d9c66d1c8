"""The connection to Valkey, or Redis: one server or a cluster, in bounded time, with errors in our words."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar, current_token

from skene.adapters.at_once import at_once
from skene.adapters.valkey.scripts import Script
from skene.errors import ConfigurationError, StorageUnavailable

try:
    from valkey.asyncio import Valkey, ValkeyCluster
    from valkey.asyncio.cluster import ClusterNode
    from valkey.exceptions import (
        AuthenticationError,
        AuthenticationWrongNumberOfArgsError,
        AuthorizationError,
        ClusterError,
        NoPermissionError,
        NoScriptError,
        ResponseError,
        ValkeyClusterException,
        ValkeyError,
    )
except ModuleNotFoundError as error:
    needed = 'counting in Valkey needs the extra: pip install "skene-sdk[valkey]"'
    raise ModuleNotFoundError(needed, name="valkey") from error

__all__ = ["Servers"]

Client = Valkey | ValkeyCluster

SCHEMES = ("valkey", "valkeys", "redis", "rediss", "unix")
DENIED = (AuthenticationError, AuthenticationWrongNumberOfArgsError, AuthorizationError, NoPermissionError)
T = TypeVar("T")
_LANES = 8


@dataclass(slots=True)
class _Here:
    """What belongs to one event loop: connections cannot change loops, and nor can the queue for them."""

    turns: CapacityLimiter
    connecting: anyio.Lock
    client: Client | None = None
    nodes: Sequence[ClusterNode] = ()


class Servers:
    """One client for each event loop. Nothing is ever sent twice: what is counted twice is counted wrong.

    Args:
        url_or_client: `valkey://`, `valkeys://` (TLS), `unix://`, or Redis's, of a server or of any node of a
            cluster; or a client of one's own for one server.
        connections: how many calls may be under way at once; more wait.
        seconds: within which everything is answered.

    Raises:
        ConfigurationError: another kind of address, or of client.
    """

    def __init__(self, url_or_client: str | Valkey, *, connections: int, seconds: float) -> None:
        self._theirs = None if isinstance(url_or_client, str) else _checked(url_or_client)
        self._url = _address(url_or_client) if isinstance(url_or_client, str) else ""
        self._connections, self._seconds = connections, seconds
        self._loops: RunVar[_Here] = RunVar("skene_valkey")

    async def start(self) -> None:
        """Connect, and see that nothing that is counted will be thrown away."""
        for told in _answers(await self._see_through(self._look)):
            _check_memory(told)

    async def aclose(self) -> None:
        """Close the connections of this event loop. The next use opens others."""
        try:
            here = self._loops.get()
        except LookupError:
            return
        client, here.client = here.client, self._theirs
        if client is not None and self._theirs is None:
            with anyio.move_on_after(self._seconds, shield=True):
                await client.aclose()

    async def run(self, script: Script, keys: Sequence[str], *args: str) -> list[Any]:
        """Run a function on the server that holds the keys.

        Raises:
            StorageUnavailable: it was not known to run.
        """

        async def attempt() -> list[Any]:
            client, rest = await self._client(), (str(len(keys)), *keys, *args)
            try:
                answer = await _send(client, "EVALSHA", script.digest, *rest)
            except NoScriptError:  # a server that was started, or became the primary, since
                answer = await _send(client, "EVAL", script.text, *rest)
            return [one.decode() if isinstance(one, bytes) else one for one in answer]

        return await self._see_through(attempt)

    async def ask(self, *command: str) -> Any:
        """Send one command that reads."""

        async def attempt() -> Any:
            return await _send(await self._client(), *command)

        return await self._see_through(attempt)

    async def ask_all(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """Send commands that read, all together."""

        async def attempt() -> list[Any]:
            client, answers = await self._client(), dict[int, Any]()
            if isinstance(client, Valkey):
                pipe: Any = client.pipeline(transaction=False)
                for command in commands:
                    pipe.execute_command(*command)
                return list(await pipe.execute())

            async def lane(first: int) -> None:
                for place in range(first, len(commands), _LANES):
                    answers[place] = await _send(client, *commands[place])

            # The cluster's own pipelines cannot do without sending again.
            await at_once(*(partial(lane, first) for first in range(_LANES)))
            return [answers[place] for place in range(len(commands))]

        return await self._see_through(attempt)

    async def _see_through(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """See something through in bounded time, whatever happens to the caller, with errors in our words."""
        try:
            with anyio.fail_after(self._seconds, shield=True):
                async with self._here().turns:
                    return await attempt()
        except TimeoutError as error:
            raise StorageUnavailable(f"Valkey did not answer within {self._seconds} s") from error
        except ResponseError as error:
            _check_access(error)
            # A code of its own tells of the server's state; without one, something of ours is wrong.
            if type(error) is ResponseError and not str(error).partition(" ")[0].isupper():
                raise
            raise StorageUnavailable(f"Valkey cannot count now: {type(error).__name__}: {error}") from error
        except (ValkeyError, ValkeyClusterException, OSError) as error:
            _check_access(error)
            with anyio.move_on_after(self._seconds, shield=True):
                await self._recover(error)
            raise StorageUnavailable(f"Valkey cannot be reached: {type(error).__name__}") from error

    def _here(self) -> _Here:
        try:
            return self._loops.get()
        except LookupError:
            _refuse_trio()
            here = _Here(CapacityLimiter(self._connections), anyio.Lock(), self._theirs)
            self._loops.set(here)
            return here

    async def _look(self) -> Any:
        client = await self._client()
        everywhere = {"target_nodes": ValkeyCluster.PRIMARIES} if isinstance(client, ValkeyCluster) else {}
        return await _send(client, "INFO", **everywhere)

    async def _client(self) -> Client:
        here = self._here()
        if here.client is not None:
            return here.client
        async with here.connecting:
            if (client := here.client) is None:
                client = here.client = await self._connect(here.nodes)
            return client

    async def _recover(self, error: Exception) -> None:
        """See that the next calls do not meet the same fault again."""
        here = self._here()
        client = here.client
        if isinstance(client, Valkey):  # the idle connections are lost like the one that was used
            await client.connection_pool.disconnect(inuse_connections=False)
        elif client is not None and isinstance(error, ValkeyClusterException | ClusterError):
            # It has lost its way: with each fault it strikes a node from its list, and never adds one.
            here.client, here.nodes = None, client.get_nodes() or here.nodes
            await client.aclose()

    async def _connect(self, nodes: Sequence[ClusterNode]) -> Client:
        """A client for what is there: one server, or a cluster.

        Args:
            nodes: of the cluster that was there: the one that the address names may be away.
        """
        once: Any = {"retry": None, "socket_timeout": self._seconds, "socket_connect_timeout": self._seconds}
        if nodes:
            return self._cluster(nodes, once)
        single: Valkey = Valkey.from_url(self._url, **once)
        try:
            (told,) = _answers(await _send(single, "INFO"))
        except BaseException:
            await single.aclose()
            raise
        if str(told.get("cluster_enabled")) != "1":
            return single
        await single.aclose()
        return self._cluster((), once)

    def _cluster(self, nodes: Sequence[ClusterNode], once: Any) -> ValkeyCluster:
        # Looking at everything anew, which moved slots would lead to, breaks off what others are waiting for.
        never = dict.fromkeys(("cluster_error_retry_attempts", "connection_error_retry_attempts"), 0)
        seeds = [ClusterNode(node.host, node.port) for node in nodes]
        return ValkeyCluster.from_url(self._url, startup_nodes=seeds, reinitialize_steps=0, **never, **once)


async def _send(client: Any, *command: str, **where: str) -> Any:
    """One command, by either client; they do not say of what types their answers are."""
    return await client.execute_command(*command, **where)


def _answers(told: Any) -> list[Mapping[str, Any]]:
    """What one server tells of itself, or several, by their names."""
    several = told and all(isinstance(one, dict) for one in told.values()) and "used_memory" not in told
    return list(told.values()) if several else [told]


def _check_memory(told: Mapping[str, Any]) -> None:
    policy, most = str(told.get("maxmemory_policy", "noeviction")), int(told.get("maxmemory", 0))
    if most and policy != "noeviction":
        raise ConfigurationError(
            f"this Valkey throws keys away when its memory is full (maxmemory-policy {policy}), and a counter"
            " that is thrown away starts from zero: set `maxmemory-policy noeviction`, or count in a server"
            " that nobody else fills"
        )


def _check_access(error: BaseException) -> None:
    cause: BaseException | None = error
    while cause is not None:  # what happens while connecting is told as a lost connection
        if isinstance(cause, DENIED):
            raise ConfigurationError(f"Valkey does not let skene in: {cause}") from error
        cause = cause.__cause__


def _address(url: str) -> str:
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in SCHEMES or not rest:
        given = f"an address that begins with {scheme!r}" if colon else "an address without a scheme"
        raise ConfigurationError(
            f"ValkeyStorage was given {given}; it takes valkey://host:port, valkeys:// (TLS), unix:///path,"
            " redis:// or rediss://"
        )
    return url


def _checked(client: object) -> Valkey:
    if not isinstance(client, Valkey):
        raise ConfigurationError(
            f"ValkeyStorage was given a {type(client).__name__}; it takes an address, also of a cluster, or a"
            " valkey.asyncio.Valkey of one server"
        )
    return client


def _refuse_trio() -> None:
    if current_token().backend_class.__module__.endswith("trio"):
        raise ConfigurationError(
            "ValkeyStorage needs asyncio, because its client does; on trio use"
            " skene.adapters.sqlite.SqliteStorage"
        )
