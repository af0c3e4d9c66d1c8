"""Decision 9: a retry with the same Idempotency-Key is free."""

from typing import Annotated, Any

import anyio
import pytest
from fastapi import Depends, Form, HTTPException, Request, UploadFile

from tests.fastapi.conftest import freemium

PATH = "/api/features/x"


def echo(h, status=200):
    @h.app.post(PATH)
    async def x(body: dict[str, int] | None = None) -> dict[str, int] | None:
        h.calls.append("ran")
        if status != 200:
            raise HTTPException(status)
        return body


async def test_repeats_and_simultaneous_repeats_are_charged_once(house):
    h = house(freemium(5))
    echo(h)
    async with h.running() as client:
        for _ in range(100):
            answer = await client.post(PATH, headers={"idempotency-key": "k-1"}, json={"n": 1})
            assert answer.status_code == 200
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(lambda: client.post(PATH, headers={"idempotency-key": "k-2"}, json={"n": 2}))
    assert await h.used() == 2


async def test_keys_are_each_subjects_own(house):
    h = house(freemium(1))
    echo(h)
    async with h.running() as client:
        for who in ("ada", "bob"):
            answer = await client.post(PATH, headers={"idempotency-key": "same", "x-user": who})
            assert answer.status_code == 200
    assert (await h.used("ada"), await h.used("bob")) == (1, 1)


async def test_another_request_under_the_same_key_is_told_so(house):
    h = house()
    echo(h)
    async with h.running() as client:
        await client.post(PATH, headers={"idempotency-key": "k"}, json={"n": 1})
        other = await client.post(PATH, headers={"idempotency-key": "k"}, json={"n": 2})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert h.calls == ["ran"]


async def test_a_failed_call_frees_its_key(house):
    h = house(freemium(1))
    echo(h, status=500)
    async with h.running() as client:
        for _ in range(3):
            assert (await client.post(PATH, headers={"idempotency-key": "k"})).status_code == 500
    assert await h.used() == 0


async def test_odd_keys_are_refused_with_the_rule(house):
    h = house()
    echo(h)
    async with h.running() as client:
        for key in (b"", b"with space", b"\xc3\xa9", b"k" * 257):
            answer = await client.post(PATH, headers=[(b"idempotency-key", key)])
            assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid"), key
        assert (await client.post(PATH, headers={"idempotency-key": "k" * 256})).status_code == 200


async def test_forms_and_the_header_switched_off(house):
    h = house(freemium(5))

    @h.app.post(PATH)
    async def form(name: str = Form()) -> str:
        return name

    async with h.running() as client:
        for _ in range(2):
            answer = await client.post(PATH, headers={"idempotency-key": "k"}, data={"name": "x"})
            assert answer.json() == "x"
    assert await h.used() == 1

    deaf = house(freemium(5), idempotency_header=None)
    echo(deaf)
    async with deaf.running() as client:
        for _ in range(2):
            await client.post(PATH, headers={"idempotency-key": "k"})
    assert await deaf.used() == 2


async def in_pieces(content: bytes):
    yield content[:1]
    yield content[1:]


def json_in_pieces(n):
    return {"content": in_pieces(b'{"n": %d}' % n), "headers": {"content-type": "application/json"}}


def large_json(n):
    return {"json": {"n": n, "padding": "." * 1_100_000}}


@pytest.mark.parametrize("send", [json_in_pieces, large_json])
async def test_the_whole_body_makes_the_request_however_it_is_sent(house, send):
    h = house(freemium(5))

    @h.app.post(PATH)
    async def x(body: dict[str, Any]) -> int:
        return body["n"]

    async with h.running() as client:
        client.headers["idempotency-key"] = "k"
        answers = [await client.post(PATH, **send(n)) for n in (1, 2, 1)]
    assert [answer.status_code for answer in answers] == [200, 422, 200]
    assert answers[2].json() == 1
    assert await h.used() == 1


async def test_an_upload_is_recognised_by_its_content(house):
    h = house(freemium(5))

    @h.app.post(PATH)
    async def x(title: Annotated[str, Form()], file: UploadFile) -> str:
        return title + (await file.read()).decode()

    async def post(title: str, content: bytes):
        return await client.post(PATH, data={"title": title}, files={"file": ("a.txt", content)})

    async with h.running() as client:
        client.headers["idempotency-key"] = "k"
        assert (await post("a", b"1")).json() == "a1"
        assert (await post("a", b"1")).json() == "a1", (
            "the boundary between the parts differs, and is no part of it"
        )
        assert (await post("a", b"2")).status_code == 422
        assert (await post("b", b"1")).status_code == 422
    assert await h.used() == 1


async def test_a_body_that_the_endpoint_streams_is_recognised_while_it_is_small(house):
    h = house(freemium(5))

    @h.app.post(PATH)
    async def x(request: Request) -> int:
        return sum([len(piece) async for piece in request.stream()])

    async with h.running() as client:
        client.headers["idempotency-key"] = "k"
        contents = (b"one", b"one", b"two", b"." * 1_100_000)
        answers = [await client.post(PATH, content=in_pieces(content)) for content in contents]
        assert [answer.status_code for answer in answers] == [200, 200, 422, 400]
        assert answers[0].json() == answers[1].json() == 3
        assert answers[3].json()["code"] == "idempotency_key_unusable"
        assert (await client.post(PATH)).status_code == 422, "no body is another body"
    assert await h.used() == 1


async def test_a_body_that_a_dependency_streamed_past_the_gate_cannot_be_repeated_for_free(house):
    h = house(freemium(5))

    async def size(request: Request) -> int:
        return sum([len(piece) async for piece in request.stream()])

    @h.app.post(PATH)
    async def x(size: Annotated[int, Depends(size)]) -> int:
        return size

    async with h.running() as client:
        answer = await client.post(PATH, content=b"one", headers={"idempotency-key": "k"})
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_unusable")
        assert (await client.post(PATH, content=b"one")).json() == 3
    assert await h.used() == 1
