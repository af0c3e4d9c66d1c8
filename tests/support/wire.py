"""What goes over the wire to PostgreSQL: a proxy that counts round trips."""

import asyncio  # a unix socket of anyio's may fail when it is closed while something arrives
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Protocol

import anyio
from anyio.abc import SocketAttribute, SocketStream

ASKS = b"QS"
"""Query, and Sync after the messages of the extended protocol: now the client waits for the server."""


class _End(Protocol):
    """One end of a connection."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def send(self, data: bytes, /) -> None: ...

    async def aclose(self) -> None: ...


class _UnixSocket:
    """The server's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._reader.read(65536):
                yield data
        except OSError as error:
            raise anyio.BrokenResourceError from error

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError as error:
            raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        self._writer.close()


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
        server = _UnixSocket(*await asyncio.open_unix_connection(self._socket_path))
        async with client, aclosing(server), anyio.create_task_group() as group:
            group.start_soon(self._forward, client, server, True)
            await self._forward(server, client, False)
            group.cancel_scope.cancel()

    async def _forward(self, source: _End, target: _End, counting: bool) -> None:
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
