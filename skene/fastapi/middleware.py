"""Settles every request when its answer begins: keep the units, or give them back. Pure ASGI, outermost."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from skene.fastapi.visit import SCOPE_KEY, Visit
from skene.runtime.gate import Gatekeeper

__all__ = ["SettleMiddleware"]


class SettleMiddleware:
    """Charge on success: units are given back when the handler raises, or its answer is an error.

    It stands outside everything else, so it sees the status that the client gets, whoever made it. It sees
    requests that are not gated, too: for them it makes one small object.
    """

    def __init__(
        self,
        app: ASGIApp,
        gatekeeper: Gatekeeper,
        ready: Callable[[], bool],
        make_ready: Callable[[], Awaitable[None]],
    ) -> None:
        """Stand around an app.

        Args:
            app: everything else.
            gatekeeper: gives units back.
            ready: whether requests can come.
            make_ready: what is to be done when they cannot.
        """
        self._app = app
        self._gatekeeper = gatekeeper
        self._ready, self._make_ready = ready, make_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and settle it when its answer begins or it ends without one."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if not self._ready():
            await self._make_ready()
        visit = scope[SCOPE_KEY] = Visit(self._gatekeeper, send)
        try:
            await self._app(scope, receive, visit.send)
        finally:
            # The visit holds what holds it, through the connection and the server's `send`: left like that,
            # all of it would stay until the garbage collector comes by.
            visit.connection = None
            scope.pop(SCOPE_KEY, None)
            if visit.open:
                await visit.give_back()  # the request ended without an answer
