"""A webhook endpoint that strangers find: they get 400, 401 or 413, change nothing, and cost no memory."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import chain, repeat
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from anyio.abc import ByteReceiveStream

from skene.adapters.system import SystemClock
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from tests.support.processes import uvicorn_processes
from tests.support.stripe_account import API_KEY, PLANS, WEBHOOK_SECRET

APP = "tests.support.selling_app:app"
PATH = "/skene/webhooks/stripe"
MEGABYTE = 1024 * 1024
PIECE = 32_768
GROWTH = 10 * MEGABYTE
SENDERS = 4
"""How many send the same at once."""

clock = SystemClock()


@asynccontextmanager
async def shop(database: str) -> AsyncIterator[tuple[FakeStripe, httpx.AsyncClient]]:
    """A running app, somebody on a plan, and a client."""
    fake = FakeStripe(now=clock.now, prices=PLANS, api_key=API_KEY, webhook_secret=WEBHOOK_SECRET)
    with (
        serving(fake.app) as stripe,
        uvicorn_processes(APP, 1, {"APP_DATABASE": database, "APP_STRIPE": stripe}) as (address,),
    ):
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            fake.connect(f"{address}{PATH}")
            await fake.subscribe("ada", "price_starter")
            yield fake, client


def signed(body: bytes, secret: str = WEBHOOK_SECRET, ahead: timedelta = timedelta(0)) -> dict[str, str]:
    """As Stripe signs; its SDK signs text only."""
    at = int((clock.now() + ahead).timestamp())
    mac = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={at},v1={mac}"}


def event(fake: FakeStripe) -> bytes:
    """A well-formed event that would end ada's plan, were events believed."""
    wanted = {**fake.events[-1], "id": "evt_hostile", "type": "customer.subscription.deleted"}
    return json.dumps(wanted).encode()


def hostile(fake: FakeStripe) -> Iterator[tuple[str, bytes, dict[str, str], set[int]]]:
    """What is sent, and the answers that are right."""
    body = event(fake)
    yield "no signature", body, {}, {400}
    yield "forged with an empty secret", body, signed(body, ""), {401}
    yield "forged with another secret", body, signed(body, "whsec_another0secret0entirely"), {401}
    yield "ten years ahead", body, signed(body, ahead=timedelta(days=3652)), {400}
    yield "ten years old", body, signed(body, ahead=-timedelta(days=3652)), {400}
    for name, odd in {
        "not UTF-8": b"\xff\xfe" * 1000,
        "null": b"null",
        "nothing": b"",
        "200,000 brackets": b"[" * 200_000,
        "100,000 objects": b'{"a":' * 100_000,
        "a long number": b"1" * 100_000,
        "a list": b"[]",
    }.items():
        yield name, odd, {}, {400}
        yield f"{name}, forged", odd, signed(odd, ""), {401}
        yield f"{name}, authentic", odd, signed(odd), {400}
    many = signed(body, "")["stripe-signature"]
    yield (
        "10,000 signatures",
        body,
        {"stripe-signature": many + ",v1=" + ",v1=".join(["0" * 64] * 10_000)},
        {400},
    )
    yield "signatures that just fit", body, {"stripe-signature": many + ",v1=0" * 700}, {401}
    yield "two megabytes", b" " * 2 * MEGABYTE, signed(b" " * 2 * MEGABYTE), {413}


async def post(client: httpx.AsyncClient, headers: dict[str, str], pieces: Iterable[bytes]) -> int | None:
    """Send a body for as long as anybody listens.

    Returns:
        The status of the answer; None if it was lost, as happens when the door is shut while one speaks.
    """
    app = urlsplit(str(client.base_url))
    lines = [f"POST {PATH} HTTP/1.1", f"Host: {app.netloc}", *(f"{key}: {headers[key]}" for key in headers)]
    answer = b""

    async def listen(stream: ByteReceiveStream, scope: anyio.CancelScope) -> None:
        nonlocal answer
        with suppress(anyio.BrokenResourceError):
            answer = await stream.receive()
        scope.cancel()

    async with (
        await anyio.connect_tcp(app.hostname or "", app.port or 80) as stream,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listen, stream, tasks.cancel_scope)
        with suppress(anyio.BrokenResourceError):
            head = "\r\n".join([*lines, "", ""]).encode()
            for piece in chain((head[at : at + PIECE] for at in range(0, len(head), PIECE)), pieces):
                await stream.send(piece)
                await anyio.sleep(0.001)  # as a network does: who is flooded hangs up without a word
            await anyio.sleep_forever()
    return int(answer.split()[1]) if answer else None


async def insist(send: Callable[[], Awaitable[int | None]]) -> int:
    """Try until an answer arrives."""
    for _ in range(50):
        if (status := await send()) is not None:
            return status
    raise AssertionError("never an answer")


async def post_whole(client: httpx.AsyncClient, headers: dict[str, str], body: bytes) -> int:
    return await insist(lambda: post(client, {**headers, "Content-Length": str(len(body))}, [body]))


async def flood(client: httpx.AsyncClient, *, announced: bool) -> int:
    """Send 300 MiB. Returns the status of the answer, which comes long before the end."""
    piece, times = b"x" * 65_536, 300 * 16
    chunk = piece if announced else b"%x\r\n" % len(piece) + piece + b"\r\n"
    length = {"Content-Length": str(len(piece) * times)} if announced else {"Transfer-Encoding": "chunked"}
    left: list[Iterator[bytes]] = []

    async def send() -> int | None:
        left.append(repeat(chunk, times))
        return await post(client, length, left[-1])

    status = await insist(send)
    assert all(next(pieces, None) is not None for pieces in left), "all of it was taken"
    return status


async def together(work: Callable[[], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(SENDERS):
            tasks.start_soon(work)


async def peak(client: httpx.AsyncClient) -> int:
    return int((await client.get("/peak")).text)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_what_strangers_send_is_refused_and_changes_nothing(database: str) -> None:
    async with shop(database) as (fake, client):
        usage = await client.get("/skene/usage", headers={"x-user": "ada"})
        before = [(one["plan"], one["limit"]) for one in usage.json()["usage"]]
        assert before == [("starter", 5)]
        for _ in range(SENDERS):  # whatever an authentic webhook costs is paid before
            assert await fake.send(fake.events[-1])
        held, answered = await peak(client), dict[str, set[int]]()

        for name, body, headers, right in hostile(fake):

            async def send(name: str = name, body: bytes = body, headers: dict[str, str] = headers) -> None:
                answered.setdefault(name, set()).add(await post_whole(client, headers, body))

            await together(send)
            assert answered[name] == right, name
        for announced in (False, True):

            async def send_much(announced: bool = announced) -> None:
                assert await flood(client, announced=announced) == 413

            await together(send_much)

        assert await peak(client) - held < GROWTH
        usage = await client.get("/skene/usage", headers={"x-user": "ada"})
        assert [(one["plan"], one["limit"]) for one in usage.json()["usage"]] == before
