"""The pages that people see: Checkout and the customer portal."""

from collections.abc import Awaitable, Callable
from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from skene.testing.stripe_server.objects import Obj
from skene.testing.stripe_server.state import ApiFault, State

__all__ = ["Pages"]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 4rem auto; }}
button {{ font: inherit; padding: .5rem 1.5rem; }} small {{ color: #666; }}
</style></head>
<body><h1>{title}</h1>{body}
<p><small>A local stand-in for Stripe. No money moves.</small></p></body></html>"""


class Pages:
    """Serves Checkout and the portal.

    Args:
        state: what the pages show and change.
        after: runs after every change, before the browser is answered: sends the webhooks.
    """

    def __init__(self, state: State, after: Callable[[], Awaitable[None]]) -> None:
        self._state = state
        self._after = after

    def routes(self) -> list[Route]:
        """The pages' routes."""
        return [
            Route("/c/pay/{id}", self.show_checkout, methods=["GET"]),
            Route("/c/pay/{id}", self.pay, methods=["POST"]),
            Route("/p/session/{id}", self.show_portal, methods=["GET"]),
            Route("/p/session/{id}", self.change, methods=["POST"]),
        ]

    async def show_checkout(self, request: Request) -> Response:
        """What is sold, and a button to pay."""
        session = self._state.tables["checkout.session"].get(request.path_params["id"])
        if session is None:
            return _page("No such checkout", "", 404)
        if session["status"] != "open":
            return _page(f"This checkout is {session['status']}", "", 410)
        amount = f"{session['amount_total'] / 100:.2f} {str(session['currency']).upper()}"
        cancel = f'<p><a href="{escape(session["cancel_url"])}">Back</a></p>' if session["cancel_url"] else ""
        email = "" if session["customer"] else _email_field(session["customer_email"])
        form = f'<form method="post">{email}<p><button name="pay">Pay {escape(amount)}</button></p></form>'
        return _page("Subscribe", form + cancel)

    async def pay(self, request: Request) -> Response:
        """Complete the checkout, send its webhooks, and return the browser to the application."""
        number = request.path_params["id"]
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        try:
            session = self._state.complete(number, form.get("email", [None])[0])
        except ApiFault as fault:
            return _page("This checkout cannot be paid", f"<p>{escape(str(fault))}</p>", 410)
        await self._after()
        return RedirectResponse(session["success_url"].replace("{CHECKOUT_SESSION_ID}", number), 303)

    async def show_portal(self, request: Request) -> Response:
        """The customer's subscriptions, each with a button to cancel it or to keep it."""
        session = self._state.tables["billing_portal.session"].get(request.path_params["id"])
        if session is None:
            return _page("No such session", "", 404)
        rows = "".join(_portal_row(one) for one in self._state.subscriptions_of(session["customer"]))
        back = f'<p><a href="{escape(session["return_url"])}">Back</a></p>' if session["return_url"] else ""
        return _page("Your subscriptions", (rows or "<p>None.</p>") + back)

    async def change(self, request: Request) -> Response:
        """Cancel a subscription at the end of its period, or keep it."""
        session = self._state.tables["billing_portal.session"].get(request.path_params["id"])
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        number, action = form.get("subscription", [""])[0], form.get("action", [""])[0]
        owned = self._state.subscriptions_of(session["customer"]) if session else []
        if number not in [one["id"] for one in owned] or action not in ("cancel", "keep"):
            return _page("That cannot be changed", "", 400)
        self._state.schedule_end(number, action == "cancel")
        await self._after()
        return RedirectResponse(request.url.path, 303)


def _page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(_PAGE.format(title=escape(title), body=body), status)


def _email_field(known: str | None) -> str:
    value = escape(known or "", quote=True)
    return f'<p><label>E-mail <input type="email" name="email" value="{value}" required></label></p>'


def _portal_row(one: Obj) -> str:
    if one["status"] in ("canceled", "incomplete_expired"):
        return ""
    action, label = ("keep", "Keep it") if one["cancel_at_period_end"] else ("cancel", "Cancel at period end")
    price = one["items"]["data"][0]["price"]["id"]
    return (
        f'<form method="post"><p>{escape(price)} ({escape(one["status"])}) '
        f'<input type="hidden" name="subscription" value="{escape(one["id"])}">'
        f'<button name="action" value="{action}">{label}</button></p></form>'
    )
