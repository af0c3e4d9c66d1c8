"""Websockets are gated as their connection is made."""

import pytest
from fastapi import WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse

from tests.fastapi.conftest import freemium


def websocket_app(h):
    @h.app.websocket("/api/features/live")
    async def live(socket: WebSocket):
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()


def test_websockets_are_charged_per_connection_and_refused_with_the_same_answer(house):
    h = house(freemium(2, method=None))
    websocket_app(h)
    with TestClient(h.app, headers={"x-user": "ada"}) as client:
        for _ in range(2):
            with client.websocket_connect("/api/features/live") as socket:
                assert socket.receive_text() == "hello"
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            client.websocket_connect("/api/features/live"),
        ):
            pass
    assert denied.value.status_code == 402
    assert denied.value.json()["code"] == "usage_limit_reached"


async def test_a_server_without_denial_responses_closes_the_websocket(house):
    h = house(freemium(0, method=None))
    websocket_app(h)
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/api/features/live",
        "headers": [(b"x-user", b"ada")],
        "query_string": b"",
        "subprotocols": [],
    }
    async with h.running():
        await h.app(scope, receive, send)
    assert [(m["type"], m.get("code")) for m in sent] == [("websocket.close", 1008)]


async def test_a_websocket_that_fails_before_it_accepts_costs_nothing(house):
    h = house(freemium(1, method=None))

    @h.app.websocket("/api/features/live")
    async def live(socket: WebSocket):
        raise RuntimeError("broken")

    with TestClient(h.app, headers={"x-user": "ada"}) as client:
        for _ in range(3):
            with pytest.raises(RuntimeError), client.websocket_connect("/api/features/live"):
                pass
    assert await h.used() == 0
