"""A local Resend: enough of its API to send mail with the official SDK and to see what arrived.

The SDK talks to it unchanged, over loopback (`skene.testing.serve.serving(fake.app)`) or in process
(`ResendNotifier(…, transport=httpx.ASGITransport(fake.app))`). Limits: no attachments, nothing is scheduled,
and nothing leaves the process.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from skene.testing.resend_rules import Refusal, Template, fields_of, fingerprint, is_list, template_of

__all__ = ["FakeEmail", "FakeResend"]

_KEYS_LAST = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class FakeEmail:
    """An e-mail that Resend accepted: `to` are bare addresses or `Name <address>`, as they were given."""

    id: str
    sender: str
    to: tuple[str, ...]
    subject: str
    html: str | None
    text: str | None
    reply_to: tuple[str, ...]
    headers: dict[str, str]
    template: str | None
    idempotency_key: str | None
    api_key: str
    created_at: datetime


@dataclass(slots=True)
class _Fault:
    times: int
    status: int = 0
    name: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    json: bool = True


@dataclass(frozen=True, slots=True)
class _Answered:
    fingerprint: str
    answer: dict[str, Any]
    at: datetime


class FakeResend:
    """A Resend account in memory.

    Args:
        now: the present, aware UTC; the account's time.
        api_keys: the keys it accepts.
        domains: those that may be sent from; None is any.

    Attributes:
        app: the server, an ASGI application.
        emails: what was accepted, in order.
        requests: method and path of every request, in order.
        in_flight: the idempotency keys that are being worked on.
        delay: seconds that every e-mail takes, after it is accepted and before it is answered.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        api_keys: Iterable[str] = ("re_local0resend",),
        domains: Iterable[str] | None = None,
    ) -> None:
        self.emails: list[FakeEmail] = []
        self.requests: list[tuple[str, str]] = []
        self.in_flight: set[tuple[str, str]] = set()
        self.delay = 0.0
        self._now = now
        self._api_keys = frozenset(api_keys)
        self._domains = None if domains is None else frozenset(domain.lower() for domain in domains)
        self._templates: dict[str, Template] = {}
        self._answered: dict[tuple[str, str], _Answered] = {}
        self._faults: list[_Fault] = []
        self._drops: list[_Fault] = []
        self._ids = 0
        self.app = Starlette(
            routes=[
                Route("/emails", self._guarded(self._send), methods=["POST"]),
                Route("/emails/batch", self._guarded(self._send_batch), methods=["POST"]),
                Route("/emails/{id}", self._guarded(self._get), methods=["GET"]),
                Route("/templates", self._guarded(self._create_template), methods=["POST"]),
                Route("/templates/{id}", self._guarded(self._get_template), methods=["GET"]),
                Route("/templates/{id}/publish", self._guarded(self._publish), methods=["POST"]),
            ],
            exception_handlers={404: _not_found, 405: _not_allowed},
        )

    def fail_next(
        self,
        status: int,
        error_type: str = "application_error",
        times: int = 1,
        *,
        retry_after: str | None = None,
        json: bool = True,
    ) -> None:
        """Refuse the next requests before anything is accepted.

        Args:
            status: the HTTP status.
            error_type: the `name` in the body.
            times: how many requests.
            retry_after: the header, if any.
            json: False answers with HTML, as a proxy in between would.
        """
        headers = {} if retry_after is None else {"retry-after": retry_after}
        self._faults.append(_Fault(times, status, error_type, headers, json))

    def drop_after_accept(self, times: int = 1) -> None:
        """Accept the next e-mails and break the connection off before the answer is complete."""
        self._drops.append(_Fault(times))

    def add_template(
        self,
        template_id: str,
        html: str,
        *,
        subject: str | None = None,
        text: str | None = None,
        variables: dict[str, str | int | None] | None = None,
        published: bool = True,
    ) -> Template:
        """Put a hosted template there, as somebody did in the dashboard.

        Args:
            template_id: its id.
            html: with variables as `{{{NAME}}}`.
            subject: its own subject line.
            text: its plain part.
            variables: their fallbacks; None for one that must be given.
            published: only then can it be sent.
        """
        made = Template(
            template_id,
            template_id,
            html,
            text,
            subject,
            variables=dict(variables or {}),
            published=published,
        )
        self._templates[template_id] = made
        return made

    def sent_to(self, address: str) -> list[FakeEmail]:
        """What was sent to one address, oldest first."""
        return [mail for mail in self.emails if address in mail.to]

    def _guarded(self, handle: Callable[[Request, str], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            self.requests.append((request.method, request.url.path))
            try:
                key = self._authenticated(request)
                fault = _take(self._faults)
                if fault is not None:
                    if not fault.json:
                        return Response("<h1>Bad gateway</h1>", fault.status, fault.headers, "text/html")
                    raise Refusal(fault.status, fault.name, "This failure was asked for.", fault.headers)
                return cast("Response", await handle(request, key))
            except Refusal as refusal:
                return _error(refusal)

        return endpoint

    def _authenticated(self, request: Request) -> str:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal(401, "missing_api_key", "Missing API key in the authorization header.")
        if key not in self._api_keys:
            raise Refusal(403, "invalid_api_key", "API key is invalid.")
        return key

    async def _send(self, request: Request, api_key: str) -> Response:
        body = await _json(request)

        def accept(key: str | None) -> dict[str, Any]:
            return {"id": self._accept(fields_of(body, self._templates, self._domains), api_key, key)}

        return await self._once(request, api_key, body, accept)

    async def _send_batch(self, request: Request, api_key: str) -> Response:
        body = await _json(request)
        if not is_list(body) or not 1 <= len(body) <= 100:
            raise Refusal(422, "validation_error", "A batch is an array of 1 to 100 e-mails.")
        permissive = request.headers.get("x-batch-validation") == "permissive"

        def accept(key: str | None) -> dict[str, Any]:
            good: list[dict[str, Any]] = []
            errors: list[dict[str, Any]] = []
            for index, one in enumerate(body):
                try:
                    good.append(fields_of(one, self._templates, self._domains))
                except Refusal as refusal:
                    if not permissive:
                        raise
                    errors.append({"index": index, "message": refusal.message})
            data = [{"id": self._accept(fields, api_key, key)} for fields in good]
            return {"data": data, "errors": errors} if permissive else {"data": data}

        return await self._once(request, api_key, body, accept)

    async def _once(
        self, request: Request, api_key: str, body: object, accept: Callable[[str | None], dict[str, Any]]
    ) -> Response:
        """Do it, unless this idempotency key has been used in the last 24 hours."""
        key = request.headers.get("idempotency-key")
        if key is None:
            answer = accept(None)
            await anyio.sleep(self.delay)
            return self._answer(answer)
        if not 1 <= len(key) <= 256:
            raise Refusal(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
        scoped, print_ = (api_key, key), fingerprint([request.url.path, body])
        if scoped in self.in_flight:
            message = "Same idempotency key used while original request is still in progress."
            raise Refusal(409, "concurrent_idempotent_requests", message)
        known = self._answered.get(scoped)
        if known is not None and self._now() - known.at < _KEYS_LAST:
            if known.fingerprint != print_:
                message = "Same idempotency key used with a different request payload."
                raise Refusal(409, "invalid_idempotent_request", message)
            return JSONResponse(known.answer)
        self.in_flight.add(scoped)
        try:
            answer = accept(key)
            self._answered[scoped] = _Answered(print_, answer, self._now())
            await anyio.sleep(self.delay)
        finally:
            self.in_flight.discard(scoped)
        return self._answer(answer)

    def _answer(self, answer: dict[str, Any]) -> Response:
        return _Cut() if _take(self._drops) is not None else JSONResponse(answer)

    def _accept(self, fields: dict[str, Any], api_key: str, key: str | None) -> str:
        mail = FakeEmail(
            id=self._new_id(),
            sender=fields["from"],
            to=tuple(fields["to"]),
            subject=fields["subject"],
            html=fields["html"],
            text=fields["text"],
            reply_to=tuple(fields["reply_to"]),
            headers=fields["headers"],
            template=fields["template"],
            idempotency_key=key,
            api_key=api_key,
            created_at=self._now(),
        )
        self.emails.append(mail)
        return mail.id

    async def _get(self, request: Request, api_key: str) -> Response:
        found = [mail for mail in self.emails if mail.id == request.path_params["id"]]
        if not found:
            raise Refusal(404, "not_found", "Email not found")
        mail = found[0]
        shown = {
            "object": "email",
            "id": mail.id,
            "from": mail.sender,
            "to": list(mail.to),
            "cc": [],
            "bcc": [],
            "reply_to": list(mail.reply_to),
            "subject": mail.subject,
            "html": mail.html,
            "text": mail.text,
            "created_at": mail.created_at.isoformat(" "),
            "last_event": "delivered",
        }
        return JSONResponse(shown)

    async def _create_template(self, request: Request, api_key: str) -> Response:
        made = template_of(await _json(request), self._new_id())
        self._templates[made.id] = made
        if made.alias:
            self._templates[made.alias] = made
        return JSONResponse({"object": "template", "id": made.id}, 201)

    async def _get_template(self, request: Request, api_key: str) -> Response:
        found = self._template(request)
        shown = {
            "object": "template",
            "id": found.id,
            "name": found.name,
            "alias": found.alias,
            "from": found.sender,
            "subject": found.subject,
            "html": found.html,
            "text": found.text,
            "status": "published" if found.published else "draft",
        }
        return JSONResponse(shown)

    async def _publish(self, request: Request, api_key: str) -> Response:
        found = self._template(request)
        found.published = True
        return JSONResponse({"object": "template", "id": found.id})

    def _template(self, request: Request) -> Template:
        found = self._templates.get(request.path_params["id"])
        if found is None:
            raise Refusal(404, "not_found", "Template not found")
        return found

    def _new_id(self) -> str:
        self._ids += 1
        return str(UUID(int=(4 << 76) | (8 << 60) | self._ids))


class _Cut(Response):
    """An answer that breaks off: the server closes the connection, and the client knows nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"64")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _json(request: Request) -> object:
    try:
        return await request.json()
    except ValueError as error:
        raise Refusal(422, "validation_error", "The body is not JSON.") from error


def _take(faults: list[_Fault]) -> _Fault | None:
    while faults and faults[0].times <= 0:
        del faults[0]
    if not faults:
        return None
    faults[0].times -= 1
    return faults[0]


def _error(refusal: Refusal) -> JSONResponse:
    body = {"statusCode": refusal.status, "name": refusal.name, "message": refusal.message}
    return JSONResponse(body, refusal.status, refusal.headers)


def _not_found(_: Request, __: Exception) -> Response:
    return _error(Refusal(404, "not_found", "The requested endpoint does not exist."))


def _not_allowed(_: Request, __: Exception) -> Response:
    return _error(Refusal(405, "method_not_allowed", "Method is not allowed for the requested path."))
