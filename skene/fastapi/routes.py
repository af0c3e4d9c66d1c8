"""The routes that billing and people come back to, mounted under `/skene`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Match
from starlette.types import Scope

from skene.errors import (
    BillingUnavailable,
    CheckoutUnavailable,
    LinkInvalid,
    StorageUnavailable,
    WebhookRejected,
)
from skene.fastapi.answers import as_json, problem, unavailable, unknown_subject
from skene.fastapi.charging import subject_text
from skene.fastapi.pages import Refresh, page, resubscribed_page, unsubscribe_page, unsubscribed_page
from skene.fastapi.returning import return_page
from skene.runtime.returning import Returned
from skene.runtime.skene import Runtime

__all__ = ["include", "make_routes"]

Receive = Callable[[bytes, Mapping[str, str]], Awaitable[object]]

MAX_WEBHOOK = 1_048_576
"""Bytes. Stripe's events are far smaller; more is refused while it is still being read."""
SETTLING = 3
_ELSEWHERE: tuple[Match, Scope] = (Match.NONE, {})


def make_routes(
    skene: Runtime, subject: Callable[..., Any], member: Callable[..., Any] | None = None
) -> APIRouter:
    """The router with the routes for webhooks, upgrades, checkout, portal, usage and unsubscribing.

    Args:
        skene: what they work on.
        subject: the app's dependency that says who is asking.
        member: the one that says who of a team is.
    """
    router = APIRouter(include_in_schema=False)
    people = _PeopleRoutes(skene)

    async def portal(who: Annotated[Any, Depends(subject)]) -> Response:
        return await people.portal(who)

    async def usage(
        who: Annotated[Any, Depends(subject)], one: Annotated[Any, Depends(member or _nobody)]
    ) -> Response:
        return await people.usage(who, one)

    webhooks = _WebhookRoutes(skene)
    router.add_api_route("/webhooks/stripe", webhooks.billing, methods=["POST"])
    router.add_api_route("/webhooks/in/{source}", webhooks.event, methods=["POST"])
    router.add_api_route("/webhooks/{channel}", webhooks.report, methods=["POST"])
    router.add_api_route("/unsubscribe", people.ask_to_unsubscribe, methods=["GET", "HEAD"])
    router.add_api_route("/unsubscribe", people.unsubscribe, methods=["POST"])
    router.add_api_route("/upgrade", people.upgrade, methods=["GET"])
    router.add_api_route("/checkout/return", people.checkout_return, methods=["GET"])
    router.add_api_route("/portal", portal, methods=["GET"])
    router.add_api_route("/usage", usage, methods=["GET"])
    return router


def include(router: APIRouter, app: FastAPI, prefix: str) -> None:
    """Give an app the routes; requests that are meant for others are not looked up among them."""
    app.include_router(router, prefix=prefix)
    included, under = app.routes[-1], f"{prefix}/"
    matches = included.matches

    def matches_under(scope: Scope) -> tuple[Match, Scope]:
        # Wherever the app itself is mounted, the path has the prefix in it.
        return matches(scope) if under in scope["path"] else _ELSEWHERE

    setattr(included, "matches", matches_under)  # noqa: B010 - a type checker forbids assigning methods


class _WebhookRoutes:
    """What other systems tell of; anything but 2xx makes them repeat it."""

    def __init__(self, skene: Runtime) -> None:
        self._skene = skene

    async def billing(self, request: Request) -> Response:
        """A webhook of the billing service's."""
        return await self._take(request, self._skene.billing_sync.receive)

    async def event(self, request: Request, source: str) -> Response:
        """A signed event from elsewhere."""
        return await self._take(
            request, lambda body, headers: self._skene.receive_event(source, body, headers)
        )

    async def report(self, request: Request, channel: str) -> Response:
        """A mail provider's report on what became of a message; or the billing service's webhook."""
        if channel == self._skene.billing.name:
            return await self.billing(request)
        return await self._take(
            request, lambda body, headers: self._skene.receive_report(channel, body, headers)
        )

    async def _take(self, request: Request, receive: Receive) -> Response:
        try:
            body = await _limited_body(request)
            await receive(body, {name.lower(): value for name, value in request.headers.items()})
        except WebhookRejected as error:
            return problem(error.status, "webhook_rejected", "Webhook rejected", str(error))
        except LookupError as error:
            if isinstance(error, KeyError | IndexError):
                raise  # a mistake in a source of the app's, and no name that nobody knows
            return problem(404, "webhook_unknown", "Nobody listens here", "There is no such webhook.")
        except BillingUnavailable:
            return _billing_away()
        except StorageUnavailable as error:
            return unavailable(error.retry_after.total_seconds())
        return JSONResponse({"received": True})


class _PeopleRoutes:
    def __init__(self, skene: Runtime) -> None:
        self._skene = skene

    async def upgrade(self, token: str = "") -> Response:
        """From a link in a message to a fresh checkout."""
        back = self._skene.public_origin
        try:
            return _see_other(await self._skene.upgrade.follow(token))
        except LinkInvalid as error:
            text = f"It is {error.reason}. Use the feature again to get a new one."
            return page("This link does not work", text, back=back, status=400)
        except CheckoutUnavailable:
            return page("Nothing to buy here", "Please contact us to upgrade.", back=back, status=404)
        except (BillingUnavailable, StorageUnavailable):
            text = "Payment cannot be reached just now. This page tries again by itself."
            return page("One moment, please", text, back=back, status=503, refresh=Refresh(SETTLING))

    async def checkout_return(self, session_id: str = "", tries: str = "") -> Response:
        """Back from checkout: what Stripe says is in force before the person sees anything."""
        back = self._skene.public_origin
        try:
            found = await self._skene.billing_sync.checkout_returned(session_id)
        except LookupError:
            return page("Unknown checkout", "There is no such checkout.", back=back, status=404)
        except (BillingUnavailable, StorageUnavailable):
            found = Returned("confirming")
        return return_page(found, session_id, tries, back=back)

    async def ask_to_unsubscribe(self, token: str = "") -> Response:
        """The page behind the link in a mail. What opens links to look at them unsubscribes nobody."""
        back = self._skene.public_origin
        try:
            subject = self._skene.links.read_unsubscribe(token)
        except LinkInvalid:
            return _no_such_link(back)
        return unsubscribe_page(self._skene.links.unsubscribe(subject), back=back)

    async def unsubscribe(self, token: str = "", undo: bool = False) -> Response:
        """The button of that page, or of a mail program (RFC 8058)."""
        back = self._skene.public_origin
        try:
            subject = self._skene.links.read_unsubscribe(token)
            if undo:
                await self._skene.resubscribe(subject)
                return resubscribed_page(back=back)
            await self._skene.unsubscribe(subject, source="link")
        except LinkInvalid:
            return _no_such_link(back)
        except StorageUnavailable as error:
            return unavailable(error.retry_after.total_seconds())
        return unsubscribed_page(f"{self._skene.links.unsubscribe(subject)}&undo=1", back=back)

    async def portal(self, who: object) -> Response:
        """To the page where callers manage what they pay for."""
        subject = subject_text(who)
        if subject is None:
            return unknown_subject()
        try:
            return _see_other(await self._skene.upgrade.portal(subject))
        except CheckoutUnavailable as error:
            return problem(404, "no_subscription", "No subscription", str(error))
        except BillingUnavailable:
            return _billing_away()
        except StorageUnavailable as error:
            return unavailable(error.retry_after.total_seconds())

    async def usage(self, who: object, one: object) -> Response:
        """How the caller stands with every loop, as a member of a team too; read-only."""
        subject, member = subject_text(who), subject_text(one)
        if subject is None or (one is not None and member is None):
            return unknown_subject()
        try:
            decisions = await self._skene.usage(subject, member=member)
        except StorageUnavailable as error:
            return unavailable(error.retry_after.total_seconds())
        return JSONResponse({"usage": [as_json(decision) for decision in decisions]})


async def _nobody() -> None:
    """Who of a team is asking, where there are no teams."""


def _no_such_link(back: str) -> Response:
    text = "It is not one of ours. Open it from the mail once more."
    return page("This link does not work", text, back=back, status=400)


def _billing_away() -> Response:
    text = "The billing service did not answer."
    return problem(503, "billing_unavailable", "Try again", text, headers={"Retry-After": "5"})


async def _limited_body(request: Request) -> bytes:
    """The raw body, given up as soon as it is too large.

    Raises:
        WebhookRejected: over 1 MiB.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_WEBHOOK:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > MAX_WEBHOOK:
            raise _too_large()
        body += chunk
    return bytes(body)


def _too_large() -> WebhookRejected:
    return WebhookRejected("the body is larger than 1 MiB", 413)


def _see_other(url: str) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(url, 303, headers)
