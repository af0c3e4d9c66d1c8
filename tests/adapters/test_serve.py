"""Serving an application on loopback: it is ready when the block begins, and gone when it ends."""

import asyncio  # noqa: TID251 - what becomes of its loops is asked
import socket
import threading
from typing import Any

import httpx
import pytest

from skene.testing.serve import serving


class App:
    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.life: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                self.life.append(stage)
                outcome = "failed" if self.fails else "complete"
                await send({"type": f"lifespan.{stage}.{outcome}"})
                if self.fails:
                    return
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"here"})


def test_it_is_there_for_the_block_and_no_longer() -> None:
    app = App()
    with serving(app) as url:
        assert app.life == ["startup"]
        assert httpx.get(url).text == "here"
    assert app.life == ["startup", "shutdown"]
    assert not [thread for thread in threading.enumerate() if thread.name == url]
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_it_stops_when_the_block_fails() -> None:
    app = App()
    with pytest.raises(KeyError), serving(app):
        raise KeyError
    assert app.life == ["startup", "shutdown"]


def test_an_application_that_does_not_start_is_an_error_and_not_a_wait() -> None:
    with pytest.raises(RuntimeError, match="did not start"), serving(App(fails=True), log_level="critical"):
        pytest.fail("never ready")


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"), serving(App(), port=other.getsockname()[1]):
            pytest.fail("never ready")


def test_two_at_once() -> None:
    with serving(App()) as one, serving(App()) as two:
        assert one != two
        assert httpx.get(one).text == httpx.get(two).text


def test_the_event_loops_of_the_process_are_left_alone() -> None:
    """Older releases of uvicorn make all that begin later uvloop's."""
    with serving(App()):
        loop = asyncio.new_event_loop()
        loop.close()
    assert type(loop) is asyncio.SelectorEventLoop
