"""What goes over the wire to PostgreSQL: a proxy that counts round trips."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, SocketAttribute, SocketStream

ASKS = b"QS"
"""Query, and Sync after the messages of the extended protocol: now the client waits for the server."""


class Wire:
    """A proxy in front of a server's unix socket. `dsn` leads through it."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self.port = 0
        self.round_trips = 0

    def dsn(self, database: str) -> str:
        """The address of a database through the proxy."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable"

    async def serve(self, client: SocketStream) -> None:
        """Carry one connection both ways."""
        server = await anyio.connect_unix(self._socket_path)
        async with client, server, anyio.create_task_group() as group:
            group.start_soon(self._forward, client, server, True)
            await self._forward(server, client, False)
            group.cancel_scope.cancel()

    async def _forward(self, source: ByteReceiveStream, target: ByteSendStream, counting: bool) -> None:
        buffer = b""
        begun = False
        try:
            async for data in source:
                await target.send(data)
                if not counting:
                    continue
                buffer += data
                while len(buffer) >= 4 + begun:
                    # The first message has no type; every other one begins with a letter.
                    length = int.from_bytes(buffer[begun : 4 + begun], "big") + begun
                    if len(buffer) < length:
                        break
                    self.round_trips += begun and buffer[0] in ASKS
                    buffer, begun = buffer[length:], True
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # either side hung up
        with anyio.CancelScope(shield=True):
            await target.aclose()


@asynccontextmanager
async def wire(socket_path: str) -> AsyncGenerator[Wire, None]:
    """Run a proxy on a port of 127.0.0.1 for as long as the block lasts."""
    proxy = Wire(socket_path)
    async with listening(proxy.serve) as proxy.port:
        yield proxy


@asynccontextmanager
async def listening(serve: Callable[[SocketStream], Awaitable[None]]) -> AsyncGenerator[int, None]:
    """Serve whoever connects to a port of 127.0.0.1 for as long as the block lasts.

    Yields:
        The port.
    """
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield listener.extra(SocketAttribute.local_port)  # noqa: S610 (anyio's, not Django's)
        group.cancel_scope.cancel()
