"""Charges a request: from what FastAPI knows of it to what the runtime is asked."""

import inspect
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

from starlette.requests import HTTPConnection
from starlette.responses import Response

from skene.engine.decide import tightest
from skene.engine.decision import Decision
from skene.engine.program import CompiledStep, for_route
from skene.errors import IdempotencyConflict, StorageUnavailable, SubjectInvalid
from skene.fastapi.answers import problem, refusal, unavailable, unknown_subject
from skene.fastapi.fingerprint import Unrecognisable, fingerprint
from skene.fastapi.visit import Visit
from skene.runtime.asks import Ask, asks_of
from skene.runtime.gate import Admission, Gatekeeper
from skene.runtime.spending import Plain

__all__ = ["Charging", "subject_text"]

MAX_KEY = 256
UNANSWERED = (StorageUnavailable, SubjectInvalid, IdempotencyConflict)
"""Why a call is not decided, without anything being broken."""


class Charging:
    """Charges visits and words what came of it."""

    def __init__(self, gatekeeper: Gatekeeper, idempotency_header: str | None) -> None:
        self._gatekeeper = gatekeeper
        self._header = idempotency_header
        self.raw_header = (idempotency_header or "").lower().encode("latin-1", "replace")

    def plain_of(self, step: CompiledStep, route: str) -> tuple[Plain, int] | None:
        """What is prepared for a step on a route, and what a call takes; None: nothing is."""
        plain = self._gatekeeper.plain.of(_on_route(step, route))
        return (
            (plain, step.cost) if plain is not None and isinstance(step.cost, int) and step.cost > 0 else None
        )

    async def charge(self, visit: Visit, steps: tuple[CompiledStep, ...], route: str) -> Response | None:
        """Charge a visit for the steps it has not been charged for yet.

        Args:
            visit: with its connection and subject.
            steps: every step that covers the route.
            route: the route's full path template, for counters of their own.

        Returns:
            The answer to give instead of the handler's; None when the call may go on.
        """
        if visit.plain is not None and visit.due:
            plain, whom, cost, spent = visit.plain
            visit.plain, visit.due = None, False  # `warn` gives it back from here on
            return self._note(visit, await self._gatekeeper.warn(plain, whom, cost, spent))
        due = tuple(step for step in steps if step.key not in visit.charged)
        if not due:
            return None
        subject = subject_text(visit.subject)
        if subject is None or (visit.member is not None and subject_text(visit.member) is None):
            return unknown_subject()  # a member without a name would have no limit
        connection = visit.connection
        assert connection is not None  # set by the dependency that brought the visit here
        key, same = None, ""
        given = connection.headers.get(self._header) if self._header else None
        if given is not None:
            if not _valid_key(given):
                return _bad_key(self._header or "")
            key = sha256(given.encode("ascii")).hexdigest()
            try:
                same = await fingerprint(connection)
            except Unrecognisable:
                return _unusable_key(self._header or "")
        try:
            return await self._admit(visit, connection, subject, due, route, key, same)
        except UNANSWERED as error:
            return self._unanswered(error)

    async def spend(self, visit: Visit, plain: Plain, subject: str, cost: int) -> Response | None:
        """As `charge`, the short way for a plain call."""
        visit.charged = (plain.step.key,)
        try:
            answer = await self._gatekeeper.spend(plain, subject, cost)
        except UNANSWERED as error:
            return self._unanswered(error)
        if isinstance(answer, Admission):
            return self._note(visit, answer)
        visit.plain = (plain, subject, cost, answer)
        return None

    def _unanswered(self, error: Exception) -> Response:
        """The answer where nothing could be decided."""
        if isinstance(error, StorageUnavailable):
            return unavailable(error.retry_after.total_seconds())
        if isinstance(error, SubjectInvalid):
            return unknown_subject()
        return problem(
            422,
            "idempotency_key_reused",
            "Idempotency key reused",
            f"This {self._header} was used before for another request. Use a new key for a new request.",
        )

    async def _admit(
        self,
        visit: Visit,
        connection: HTTPConnection,
        subject: str,
        due: tuple[CompiledStep, ...],
        route: str,
        key: str | None,
        same: str,
    ) -> Response | None:
        member = subject_text(visit.member)
        asks: list[Ask] = []
        for step in due:
            asks += asks_of(_on_route(step, route), await _cost(step, connection), member)
        paid = [ask for ask in asks if ask.cost > 0]
        visit.charged += tuple(step.key for step in due)
        if not paid:
            seen = await self._gatekeeper.look(subject, asks)
            visit.decision = _report(visit.decision, seen[tightest(seen)])
            return None
        admission = await self._gatekeeper.admit(subject, paid, idempotency_key=key, fingerprint=same)
        return self._note(visit, admission)

    def _note(self, visit: Visit, admission: Admission) -> Response | None:
        visit.admissions += (admission,)
        visit.decision = _report(visit.decision, admission.decision)
        return None if admission.decision.allowed else refusal(admission.decision)


_on_route = lru_cache(maxsize=1024)(for_route)


def subject_text(subject: object) -> str | None:
    """The subject's id as text. Ids are opaque: numbers and UUIDs are written out, anything else is no id."""
    if isinstance(subject, str):
        return subject or None
    if isinstance(subject, UUID) or (isinstance(subject, int) and not isinstance(subject, bool)):
        return str(subject)
    return None


def _report(before: Decision | None, now: Decision) -> Decision:
    """Of two decisions about one request, the tighter one."""
    return now if before is None else (before, now)[tightest((before, now))]


async def _cost(step: CompiledStep, connection: HTTPConnection) -> int:
    if not callable(step.cost):
        return step.cost
    cost = step.cost(connection)
    if inspect.isawaitable(cost):
        cost = await cost
    if type(cost) is not int or cost < 0:
        raise ValueError(
            f"{step.path}.condition.cost: the function gave {cost!r}; a whole number ≥ 0 is allowed"
        )
    return cost


def _valid_key(key: str) -> bool:
    return 1 <= len(key) <= MAX_KEY and all(" " < c <= "~" for c in key)


def _bad_key(header: str) -> Response:
    return problem(
        400,
        "idempotency_key_invalid",
        "Idempotency key invalid",
        f"{header} must be 1 to {MAX_KEY} printable ASCII characters without spaces.",
    )


def _unusable_key(header: str) -> Response:
    return problem(
        400,
        "idempotency_key_unusable",
        "Idempotency key unusable",
        f"This route reads its body as a stream, and one over 1 MiB cannot be recognised when it is repeated."
        f" Send it without {header}. Nothing was charged.",
    )
