"""Settles every request when its answer begins: keep the units, or give them back. Pure ASGI, outermost."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skene.fastapi.answers import rate_limit_fields
from skene.fastapi.visit import SCOPE_KEY, Visit
from skene.runtime.gate import Gatekeeper

__all__ = ["SettleMiddleware"]

FAILED = 400


class SettleMiddleware:
    """Charge on success: units are given back when the handler raises, or its answer is an error.

    It stands outside everything else, so it sees the status that the client gets, whoever made it.
    """

    def __init__(
        self, app: ASGIApp, gatekeeper: Gatekeeper, before_request: Callable[[], Awaitable[None]]
    ) -> None:
        self._app = app
        self._before_request = before_request
        self._gatekeeper = gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and settle it when its answer begins or it ends without one."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        await self._before_request()
        visit = scope[SCOPE_KEY] = Visit()

        async def settle_and_send(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.start" and visit.decision is not None:
                await self._settle(visit, message)
            elif kind == "websocket.accept":
                visit.started = True
            await send(message)

        try:
            await self._app(scope, receive, settle_and_send)
        finally:
            if visit.admissions and not visit.started:
                await self._give_back(visit)

    async def _settle(self, visit: Visit, start: Message) -> None:
        given_back = 0
        if start["status"] >= FAILED:
            given_back = await self._give_back(visit)
        visit.started = True
        if visit.decision is not None:
            start["headers"] = [*start.get("headers", ()), *rate_limit_fields(visit.decision, given_back)]

    async def _give_back(self, visit: Visit) -> int:
        """Give everything back; the units that count for the decision that is reported."""
        units = 0
        admissions, visit.admissions = visit.admissions, []
        for admission in admissions:
            await self._gatekeeper.release(admission)
            if visit.decision is admission.decision:
                units += sum(r.cost for r in admission.receipts if r.meter == admission.decision.meter)
        return units
