"""The test kit: what a test reaches for by mistake is refused, and said, whatever the app makes of it."""

import socket
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest

from skene.testing import NetworkRefused, serving, world
from tests.testing.apps import app

FAR = "api.stripe.test.example"
FAR_ADDRESS = "1.1.1.1"
BACKENDS = ["asyncio", "trio"]


async def by_httpx() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"https://{FAR}/v1/customers")


async def by_anyio() -> None:
    await anyio.connect_tcp(FAR, 443)


async def by_urllib_in_a_thread() -> None:
    await anyio.to_thread.run_sync(urllib.request.urlopen, f"http://{FAR}/")


async def by_address() -> None:
    await anyio.connect_tcp(FAR_ADDRESS, 443)


async def by_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"hits:1|c", (FAR_ADDRESS, 8125))


async def without_waiting() -> None:
    with socket.socket(socket.AF_INET) as one:
        one.setblocking(False)
        one.connect_ex((FAR_ADDRESS, 80))


WAYS = [by_httpx, by_anyio, by_urllib_in_a_thread, by_address, by_datagram, without_waiting]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
@pytest.mark.parametrize("reach", WAYS)
async def test_what_reaches_for_the_network_is_told_so(
    anyio_backend: str, reach: Callable[[], Awaitable[None]]
) -> None:
    there = FAR_ADDRESS if reach in (by_address, by_datagram, without_waiting) else FAR
    with pytest.raises(NetworkRefused, match=rf"this test reached for the network: {there}\. Put a fake"):
        async with world(app()):
            await reach()


async def reach_and_forget() -> None:
    with suppress(Exception):
        await by_httpx()


async def test_an_app_that_swallows_it_does_not_hide_it() -> None:
    async def swallow() -> None:
        async with world(app()):
            for reach in (by_httpx, by_httpx, by_address):
                with suppress(Exception):
                    await reach()

    with pytest.raises(NetworkRefused, match=rf"network: {FAR}, {FAR_ADDRESS}\..*network=\['{FAR}'\]"):
        await swallow()


@pytest.mark.parametrize(("error", "shown"), [(ZeroDivisionError, NetworkRefused), (SystemExit, SystemExit)])
async def test_what_failed_because_of_it_is_shown_beside_it(
    error: type[BaseException], shown: type[BaseException]
) -> None:
    async def fail() -> None:
        async with world(app()):
            await reach_and_forget()
            raise error

    with pytest.raises(shown) as told:
        await fail()
    assert isinstance(told.value.__cause__, ZeroDivisionError) is (error is ZeroDivisionError)


async def test_the_next_world_knows_nothing_of_it() -> None:
    again = world(app())
    with pytest.raises(NetworkRefused):
        async with again:
            await reach_and_forget()
    async with again:
        pass


async def answer(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.filterwarnings("ignore:.*lifespan:Warning")
async def test_this_machine_is_near() -> None:
    async with world(app()):
        with serving(answer) as address:
            async with httpx.AsyncClient(trust_env=False) as client:
                for url in (address, address.replace("127.0.0.1", "localhost")):
                    assert (await client.get(url)).status_code == 204


async def test_what_is_allowed_is_reached_by_its_name_and_by_what_it_resolves_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached: list[object] = []

    def resolve(host: str, port: int, *rest: object, **options: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (FAR_ADDRESS, port))]

    def connect(self: socket.socket, address: tuple[str, int]) -> None:
        reached.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    async with world(app(), network=["*.Example"]):
        with pytest.raises(OSError, match="connect"):
            await by_anyio()
    assert reached == [(FAR_ADDRESS, 443)]
    with pytest.raises(NetworkRefused):
        async with world(app(), network=["*.else"]):
            await by_anyio()
    assert socket.getaddrinfo is resolve
    assert socket.socket.connect is connect


async def test_of_two_worlds_one_may_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect_ex", lambda self, address: 0)
    async with world(app(), network=["*"]), world(app()):
        await without_waiting()
    outer, inner = world(app()), world(app())
    with pytest.raises(NetworkRefused):
        async with outer, inner:
            await without_waiting()
    # Whose it was cannot be known, so each of them tells.
    assert outer._network.refused == inner._network.refused == [FAR_ADDRESS]


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.0.0.7", True),
        ("fe80::1%eth0", True),
        ("::ffff:192.168.0.1", True),
        ("db", True),
        ("localhost.", True),
        ("stripe.localhost", True),
        ("8.8.8.8", False),
        ("::ffff:8.8.8.8", False),
        ("2606:4700::1111", False),
        ("api.resend.com", False),
        ("localhost.acme.example", False),
    ],
)
def test_what_is_near(host: str, near: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *rest: [])
    entered = world(app())
    with suppress(NetworkRefused), entered:
        socket.getaddrinfo(host, 80)
    assert (entered._network.refused == []) is near


def test_hosts_are_a_list() -> None:
    with pytest.raises(TypeError, match=r"network='acme\.test': give a list of hosts"):
        world(app(), network="acme.test")
