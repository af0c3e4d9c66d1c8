"""A network between an application and its database that delays, swallows, refuses and cuts."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, SocketStream

from tests.support.wire import listening

__all__ = ["Network", "network"]

COMPLETE = b"C\0\0\0"
"""How PostgreSQL begins to say that a statement was done."""
GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class Network:
    """A proxy in front of a server on 127.0.0.1. Its attributes may be changed at any time.

    Attributes:
        port: of 127.0.0.1, where it listens.
        delay: seconds that everything is held up, each way.
        swallows: whether bytes disappear, both ways, while connections stay open.
        refuses: whether who connects is hung up on.
        cuts_answers: how many of the server's next answers that something was done are lost, with their
            connection.
        cuts: how many connections were cut so far.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._open: set[anyio.CancelScope] = set()
        self.port = 0
        self.delay = 0.0
        self.swallows = False
        self.refuses = False
        self.cuts_answers = 0
        self.cuts = 0

    def dsn(self, database: str) -> str:
        """The address of a database through the network."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def cut(self) -> None:
        """Cut all connections, in the middle of whatever they carry."""
        self.cuts += len(self._open)
        for scope in self._open:
            scope.cancel()

    async def serve(self, client: SocketStream) -> None:
        """Carry one connection both ways."""
        if self.refuses:
            await anyio.aclose_forcefully(client)
            return
        # Not over the server's unix socket: cancelling what waits for one may break anyio's bookkeeping.
        try:
            server = await anyio.connect_tcp("127.0.0.1", self._server_port)
        except OSError:  # there is no server at the moment
            await anyio.aclose_forcefully(client)
            return
        async with client, server, anyio.create_task_group() as group:
            self._open.add(group.cancel_scope)
            try:
                group.start_soon(self._carry, client, server, group.cancel_scope, False)
                await self._carry(server, client, group.cancel_scope, True)
            finally:
                self._open.discard(group.cancel_scope)

    async def _carry(
        self, source: ByteReceiveStream, target: ByteSendStream, both: anyio.CancelScope, answers: bool
    ) -> None:
        try:
            async for data in source:
                if answers and self.cuts_answers > 0 and COMPLETE in data:
                    self.cuts_answers -= 1
                    self.cuts += 1
                    break
                if self.delay:
                    await anyio.sleep(self.delay)
                if not self.swallows:
                    await target.send(data)
        except GONE:
            pass  # either side hung up
        both.cancel()


@asynccontextmanager
async def network(server_port: int) -> AsyncGenerator[Network, None]:
    """Run one in front of a server for as long as the block lasts."""
    proxy = Network(server_port)
    async with listening(proxy.serve) as proxy.port:
        yield proxy
