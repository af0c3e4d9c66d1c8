"""A local Resend: enough of its API to send mail with the official SDK and to see what arrived.

The SDK talks to it unchanged, over loopback (`skene.testing.serve.serving(fake.app)`) or in process
(`ResendNotifier(…, transport=httpx.ASGITransport(fake.app))`). Limits: no attachments, nothing is scheduled,
and nothing leaves the process.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skene.testing.resend_answers import Cut, HostedTemplates, error, not_allowed, not_found, read_json
from skene.testing.resend_domains import Domains
from skene.testing.resend_faults import Fault, Faults
from skene.testing.resend_rules import Refusal, Template, fields_of, fingerprint, is_list
from skene.testing.resend_webhooks import DeliverReport, FakeReport, event_body, sign_report

__all__ = ["FakeCall", "FakeEmail", "FakeReport", "FakeResend"]

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
class FakeCall:
    """A request that came, `at` the account's time; `status` is 0 until it is answered."""

    method: str
    path: str
    idempotency_key: str | None
    at: datetime
    status: int = 0


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
        domains: those that may be sent from, listed as verified; None is any.
        sending_keys: keys besides, that may send and nothing else.
        webhook_secret: signs what `report` sends.
        deliver: takes a webhook's body and headers to the application and returns the status it answered.

    Attributes:
        app: the server, an ASGI application.
        emails: what was accepted, in order.
        requests: method and path of every request, in order.
        calls: the same with their times, keys and answers.
        in_flight: the idempotency keys that are being worked on.
        domains: what is listed; `domains.known["acme.test"] = "pending"` adds one.
        delay: seconds that every e-mail takes, after it is accepted and before it is answered.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        api_keys: Iterable[str] = ("re_local0resend",),
        domains: Iterable[str] | None = None,
        sending_keys: Iterable[str] = (),
        webhook_secret: str = "whsec_bG9jYWwwcmVzZW5kMHNpZ25pbmcwc2VjcmV0",
        deliver: DeliverReport | None = None,
    ) -> None:
        self.webhook_secret = webhook_secret
        self.deliver = deliver
        self.emails: list[FakeEmail] = []
        self.requests: list[tuple[str, str]] = []
        self.calls: list[FakeCall] = []
        self.in_flight: set[tuple[str, str]] = set()
        self.delay = 0.0
        self._now = now
        sending = frozenset(sending_keys)
        self._api_keys = frozenset(api_keys) | sending
        self.domains = Domains(domains, sending)
        self._domains = None if domains is None else frozenset(domain.lower() for domain in domains)
        self._templates = HostedTemplates(self._new_id)
        self._answered: dict[tuple[str, str], _Answered] = {}
        self._faults = Faults()
        self._fates: dict[str, str] = {}
        self._ids = 0
        self.app = Starlette(
            routes=[
                Route("/emails", self._guarded(self._send), methods=["POST"]),
                Route("/emails/batch", self._guarded(self._send_batch), methods=["POST"]),
                Route("/emails/{id}", self._guarded(self._get), methods=["GET"]),
                Route("/domains", self._guarded(self.domains.listed), methods=["GET"]),
                Route("/templates", self._guarded(self._templates.create), methods=["POST"]),
                Route("/templates/{id}", self._guarded(self._templates.show), methods=["GET"]),
                Route("/templates/{id}/publish", self._guarded(self._templates.publish), methods=["POST"]),
            ],
            exception_handlers={404: not_found, 405: not_allowed},
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
        self._faults.fail_next(Fault(status, error_type, headers, json), times)

    def drop_after_accept(self, times: int = 1) -> None:
        """Accept the next e-mails and break the connection off before the answer is complete."""
        self._faults.drop_next(times)

    def fail(
        self,
        *,
        rate_429: float = 0.0,
        rate_500: float = 0.0,
        drop_after_accept: float = 0.0,
        retry_after: str = "1",
        seed: int = 0,
    ) -> None:
        """Fail shares of all requests from now on; without arguments none any more.

        Args:
            rate_429: turned away because there are too many, with `retry-after`.
            rate_500: failed before anything is accepted.
            drop_after_accept: of the others, accepted (or recognised by their key), and the connection broken
                off before the answer is complete.
            retry_after: the header of a 429, in seconds.
            seed: which requests they are follows from it.
        """
        self._faults.share(rate_429, rate_500, drop_after_accept, retry_after, seed)

    @property
    def accepted(self) -> dict[str, int]:
        """How many e-mails were accepted under each idempotency key."""
        return dict(Counter(mail.idempotency_key for mail in self.emails if mail.idempotency_key))

    def make_report(self, event: str, to: str, detail: Mapping[str, Any] | None = None) -> FakeReport:
        """A webhook about the last mail to an address; `send_report` sends it, as often as it is told.

        Args:
            event: `email.bounced`, `email.complained`, `email.delivered`, …
            to: the address.
            detail: replaces parts of what the event says besides: `{"type": "Transient"}` for a bounce.

        Raises:
            AssertionError: nothing was sent there.
        """
        sent = self.sent_to(to)
        if not sent:
            raise AssertionError(f"nothing was sent to {to}; there is nothing to report")
        mail = sent[-1]
        self._fates[mail.id] = event.removeprefix("email.")
        about: dict[str, Any] = {
            "email_id": mail.id,
            "created_at": mail.created_at.isoformat(),
            "from": mail.sender,
            "to": [to],
            "subject": mail.subject,
        }
        if mail.headers:
            about["headers"] = [{"name": name, "value": value} for name, value in mail.headers.items()]
        return FakeReport(f"msg_{self._new_id()}", event_body(event, about, self._now(), detail))

    async def send_report(self, report: FakeReport) -> int:
        """Sign a webhook now and deliver it; the status it was answered with.

        Raises:
            AssertionError: nobody said where to.
        """
        if self.deliver is None:
            raise AssertionError("there is no webhook endpoint; give FakeResend(deliver=…) or set .deliver")
        return await self.deliver(report.body, sign_report(report, self.webhook_secret, self._now()))

    async def report(self, event: str, to: str, detail: Mapping[str, Any] | None = None) -> int:
        """`make_report` and `send_report` in one."""
        return await self.send_report(self.make_report(event, to, detail))

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
        self._templates.known[template_id] = made
        return made

    def sent_to(self, address: str) -> list[FakeEmail]:
        """What was sent to one address, oldest first."""
        return [mail for mail in self.emails if address in mail.to]

    def _guarded(self, handle: Callable[[Request, str], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            self.requests.append((request.method, request.url.path))
            key = request.headers.get("idempotency-key")
            call = FakeCall(request.method, request.url.path, key, self._now())
            self.calls.append(call)
            answer = await self._answered_or_failed(request, handle)
            call.status = answer.status_code
            return answer

        return endpoint

    async def _answered_or_failed(self, request: Request, handle: Callable[[Request, str], Any]) -> Response:
        try:
            key = self._authenticated(request)
            fault = self._faults.before()
            if fault is not None:
                if not fault.json:
                    return Response("<h1>Bad gateway</h1>", fault.status, fault.headers, "text/html")
                raise Refusal(fault.status, fault.name, "This failure was asked for.", fault.headers)
            return cast("Response", await handle(request, key))
        except Refusal as refusal:
            return error(refusal)

    def _authenticated(self, request: Request) -> str:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal(401, "missing_api_key", "Missing API key in the authorization header.")
        if key not in self._api_keys:
            raise Refusal(403, "invalid_api_key", "API key is invalid.")
        return key

    async def _send(self, request: Request, api_key: str) -> Response:
        body = await read_json(request)

        def accept(key: str | None) -> dict[str, Any]:
            return {"id": self._accept(fields_of(body, self._templates.known, self._domains), api_key, key)}

        return await self._once(request, api_key, body, accept)

    async def _send_batch(self, request: Request, api_key: str) -> Response:
        body = await read_json(request)
        if not is_list(body) or not 1 <= len(body) <= 100:
            raise Refusal(422, "validation_error", "A batch is an array of 1 to 100 e-mails.")
        permissive = request.headers.get("x-batch-validation") == "permissive"

        def accept(key: str | None) -> dict[str, Any]:
            good: list[dict[str, Any]] = []
            errors: list[dict[str, Any]] = []
            for index, one in enumerate(body):
                try:
                    good.append(fields_of(one, self._templates.known, self._domains))
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
            return self._answer(known.answer, accepted=False)
        self.in_flight.add(scoped)
        try:
            answer = accept(key)
            self._answered[scoped] = _Answered(print_, answer, self._now())
            await anyio.sleep(self.delay)
        finally:
            self.in_flight.discard(scoped)
        return self._answer(answer)

    def _answer(self, answer: dict[str, Any], *, accepted: bool = True) -> Response:
        return Cut() if self._faults.after(accepted=accepted) else JSONResponse(answer)

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
            "last_event": self._fates.get(mail.id, "delivered"),
        }
        return JSONResponse(shown)

    def _new_id(self) -> str:
        self._ids += 1
        return str(UUID(int=(4 << 76) | (8 << 60) | self._ids))
