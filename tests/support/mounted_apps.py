"""One gated handler, mounted in every way that FastAPI knows, and in some that can carry no gate.

The gate is skene's, or the control: a middleware that compares addresses with the pattern.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header, WebSocket
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from skene import UNLIMITED, Skene, action, condition, define_loop, step, trigger
from skene.adapters.memory import MemoryStorage
from skene.fastapi import Gate

__all__ = ["METHODS", "UNGATEABLE", "WAYS", "House", "Way"]

METHODS = ["GET", "HEAD", "POST"]
PATTERN = "/api/features/*"


def _current_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


@dataclass
class House:
    """An app, and how often its gated handler ran.

    Attributes:
        careless: the gate is a middleware that compares addresses.
        root_path: what a server that takes nothing away tells the app of a prefix.
        runs: of the handler.
        charged: by the middleware; skene is asked instead.
    """

    careless: bool
    root_path: str = ""
    runs: int = 0
    charged: int = 0
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        skene = Skene(
            define_loop(
                type="freemium",
                steps=[
                    step(
                        trigger=trigger.api(PATTERN),
                        condition=condition.usage(limit={"free": 10**9, "paid": UNLIMITED}, period="30d"),
                        action=action.block("Limit."),
                    )
                ],
            ),
            storage=MemoryStorage(),
            worker=False,
        )
        self.app = FastAPI()
        if self.careless:
            self.app.add_middleware(_MatchesUrls, house=self)
        else:
            self.app.router.lifespan_context = skene.lifespan
            Gate(skene, subject=_current_user).install(self.app)

        @self.app.get("/open")
        async def open_to_all() -> str:
            return "open"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As a server calls an app."""
        await self.app({**scope, "root_path": self.root_path or scope.get("root_path", "")}, receive, send)

    async def handler(self) -> int:
        """What may not run uncharged."""
        self.runs += 1
        return self.runs


class _MatchesUrls:
    """The control, as people write it."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        self._app, self._house = app, house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "POST"):
            self._house.charged += re.fullmatch("/api/features/.+", scope["path"]) is not None
        await self._app(scope, receive, send)


def _plain(house: House) -> None:
    house.app.add_api_route("/api/features/x", house.handler, methods=METHODS)


def _parameter(house: House) -> None:
    async def named(name: str) -> int:
        return await house.handler()

    house.app.add_api_route("/api/features/{name}", named, methods=METHODS)


def _rest(house: House) -> None:
    async def deep(rest: str) -> int:
        return await house.handler()

    house.app.add_api_route("/api/features/{rest:path}", deep, methods=METHODS)


def _prefix(house: House) -> None:
    router = APIRouter(prefix="/features")
    router.add_api_route("/x", house.handler, methods=METHODS)
    house.app.include_router(router, prefix="/api")


def _nested(house: House) -> None:
    inner, outer = APIRouter(), APIRouter(prefix="/features")
    inner.add_api_route("/x", house.handler, methods=METHODS)
    outer.include_router(inner)
    house.app.include_router(outer, prefix="/api")


def _mounted(house: House) -> None:
    below = FastAPI()
    below.add_api_route("/features/x", house.handler, methods=METHODS)
    house.app.mount("/api", below)


def _websocket(house: House) -> None:
    async def live(socket: WebSocket) -> None:
        await house.handler()
        await socket.accept()
        await socket.close()

    house.app.add_api_websocket_route("/api/features/x", live)


@dataclass(frozen=True, slots=True)
class Way:
    """How the handler is mounted.

    Attributes:
        name: in words.
        build: mounts it.
        root_path: what the app is told of a prefix that the address still has.
        behind: what the server is told of a prefix that a proxy takes away.
        websocket: it is a websocket.
    """

    name: str
    build: Callable[[House], None]
    root_path: str = ""
    behind: str = ""
    websocket: bool = False


WAYS = (
    Way("plain", _plain),
    Way("path parameter", _parameter),
    Way("rest of the path", _rest),
    Way("prefix", _prefix),
    Way("nested routers", _nested),
    Way("mounted app", _mounted),
    Way("root_path", _plain, root_path="/front"),
    Way("mounted app under a root_path", _mounted, root_path="/front"),
    Way("stripped prefix", _plain, behind="/front"),
    Way("mounted app behind a stripped prefix", _mounted, behind="/front"),
    Way("websocket", _websocket, websocket=True),
)


def _starlette_route(house: House) -> None:
    async def raw(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(await house.handler()))

    house.app.router.routes.append(Route("/api/features/raw", raw))


def _foreign_app(house: House) -> None:
    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(str(await house.handler()))(scope, receive, send)

    house.app.mount("/api/features/foreign", foreign)


def _wider(house: House) -> None:
    async def wide(rest: str) -> int:
        return await house.handler()

    house.app.add_api_route("/api/{rest:path}", wide)


UNGATEABLE: tuple[tuple[str, Callable[[House], None]], ...] = (
    ("/api/features/raw", _starlette_route),
    ("/api/features/foreign", _foreign_app),
    ("/api/{rest:path}", _wider),
)
"""Each with the route that a refusal to start must name."""
