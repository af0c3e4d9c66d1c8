"""Runs an ASGI application on a free loopback port, in a thread of its own."""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

__all__ = ["serving"]

_PATIENCE = 15.0  # seconds for an application to start, and again to stop


@contextmanager
def serving(app: Any, *, port: int = 0, log_level: str = "warning", root_path: str = "") -> Generator[str]:
    """Serve an application while the block runs.

    Args:
        app: an ASGI application; its lifespan is run, if it has one.
        port: on 127.0.0.1; 0 takes a free one.
        log_level: uvicorn's.
        root_path: uvicorn's: the part of the address that a proxy in front has taken away.

    Yields:
        Its address, e.g. `http://127.0.0.1:50123`, when it is ready to answer.

    Raises:
        RuntimeError: it did not start.
        OSError: the port is taken.
    """
    # The protocol is named so that accepted connections get TCP_NODELAY; without it every POST waits 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = _Server(
            uvicorn.Config(
                app,
                log_level=log_level,
                access_log=False,
                loop="none",  # older releases would choose the event loops of the whole process
                timeout_graceful_shutdown=5,
                root_path=root_path,
            )
        )
        thread = threading.Thread(target=server.serve_in_thread, args=(listener,), name=address, daemon=True)
        thread.start()
        try:
            server.settled.wait(_PATIENCE)
            if not server.started:
                raise RuntimeError("the application did not start; its log says why")
            yield address
        finally:
            server.should_exit = True
            thread.join(_PATIENCE)
            if thread.is_alive():
                server.force_exit = True
                thread.join(_PATIENCE)


class _Server(uvicorn.Server):
    """A server that says when it is ready, or never will be."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.settled.set()

    def serve_in_thread(self, listener: socket.socket) -> None:
        try:
            self.run(sockets=[listener])
        except (
            SystemExit
        ):  # uvicorn's way to say that the application did not start; there is no process to end
            pass
        finally:
            self.settled.set()
