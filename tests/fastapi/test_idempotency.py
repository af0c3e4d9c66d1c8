"""Decision 9: a retry with the same Idempotency-Key is free."""

import anyio
from fastapi import Form, HTTPException

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
