"""One request's way through the gate."""

from collections.abc import Awaitable

from starlette.requests import HTTPConnection
from starlette.types import Message, Send

from skene.engine.decision import Decision, put_off
from skene.engine.spent import Spent, decide_spent
from skene.fastapi.answers import plain_fields, rate_limit_fields
from skene.runtime.gate import Admission, Gatekeeper
from skene.runtime.spending import Plain

__all__ = ["SCOPE_KEY", "Visit", "visit_of"]

SCOPE_KEY = "skene.visit"
FAILED = 400


class Visit:
    """What the gate knows of a request. Put into the scope by the middleware, shared by everything below it.

    Every request has one, gated or not, so it is made of little.

    Attributes:
        subject: what the app's dependency returned.
        member: the same, of the one that says who of a team is calling.
        connection: the request or websocket.
        charged: keys of the steps that were charged, so that none is charged twice.
        admissions: what to give back if the request fails.
        plain: the same, of a plain call: the step, whom and how much it was charged, how the counter stands.
        due: the plain call has made a warning due, which is to be recorded.
        asked: a plain call that was not charged at once: the step, whom and how much to charge.
        started: the answer has begun; from here on nothing is given back.
    """

    __slots__ = (
        "_decision",
        "_gatekeeper",
        "_send",
        "admissions",
        "asked",
        "charged",
        "connection",
        "due",
        "member",
        "plain",
        "started",
        "subject",
    )

    def __init__(self, gatekeeper: Gatekeeper, send: Send) -> None:
        self._gatekeeper, self._send = gatekeeper, send
        self.subject: object = None
        self.member: object = None
        self.connection: HTTPConnection | None = None
        self.charged: tuple[str, ...] = ()
        self.admissions: tuple[Admission, ...] = ()
        self.plain: tuple[Plain, str, int, Spent] | None = None
        self.due = False
        self.asked: tuple[Plain, str, int] | None = None
        self._decision: Decision | None = None
        self.started = False

    @property
    def decision(self) -> Decision | None:
        """The decision to report: the tightest so far; None: nothing was charged or looked at."""
        if self._decision is None and self.plain is not None:
            plain, subject, cost, spent = self.plain
            self._decision = put_off((decide_spent, plain.step, subject, cost, spent))
        return self._decision

    @decision.setter
    def decision(self, decision: Decision) -> None:
        self._decision = decision

    @property
    def open(self) -> bool:
        """Whether something was charged that may have to be given back."""
        return not self.started and (self.plain is not None or bool(self.admissions))

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message of the answer on; when it is the first one, settle what was charged."""
        if self.started:
            return self._send(message)
        kind = message["type"]
        if kind == "http.response.start":
            if self.plain is not None and self._decision is None and message["status"] < FAILED:
                self.started = True
                message["headers"] = [*message.get("headers", ()), *plain_fields(*self.plain[3])]
            elif self.decision is not None:
                return self._settle_and_send(message)
        elif kind == "websocket.accept":
            self.started = True
        return self._send(message)

    async def _settle_and_send(self, start: Message) -> None:
        given_back = 0
        if start["status"] >= FAILED:
            given_back = await self.give_back()
        self.started = True
        assert self.decision is not None  # or there would be nothing to settle
        start["headers"] = [*start.get("headers", ()), *rate_limit_fields(self.decision, given_back)]
        await self._send(start)

    async def give_back(self) -> int:
        """Give everything back; the units that count for the decision that is reported."""
        units = 0
        admissions, self.admissions = self.admissions, ()
        if self.plain is not None and self.decision is not None:
            plain, subject, cost, spent = self.plain
            mine = Admission(self.decision, subject, plain.receipts(cost, spent))
            admissions, self.plain = (*admissions, mine), None
        for admission in admissions:
            await self._gatekeeper.release(admission)
            if self.decision is admission.decision:
                units += sum(r.cost for r in admission.receipts if r.meter == admission.decision.meter)
        return units


def visit_of(connection: HTTPConnection) -> Visit:
    """The visit of a request.

    Raises:
        RuntimeError: the app was never given to `gate.install`, so nothing would settle the charge.
    """
    visit = connection.scope.get(SCOPE_KEY)
    if not isinstance(visit, Visit):
        raise RuntimeError("this route is gated, but its app is not: call gate.install(app)")
    return visit
