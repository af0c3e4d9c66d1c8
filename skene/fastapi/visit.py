"""One request's way through the gate."""

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from skene.engine.decision import Decision
from skene.runtime.gate import Admission

__all__ = ["SCOPE_KEY", "Visit", "visit_of"]

SCOPE_KEY = "skene.visit"


@dataclass(slots=True, eq=False)
class Visit:
    """What the gate knows of a request. Put into the scope by the middleware, shared by everything below it.

    Attributes:
        subject: what the app's dependency returned.
        member: the same, of the one that says who of a team is calling.
        connection: the request or websocket.
        charged: keys of the steps that were charged, so that none is charged twice.
        admissions: what to give back if the request fails.
        decision: the decision to report: the tightest so far.
        started: the answer has begun; from here on nothing is given back.
    """

    subject: object = None
    member: object = None
    connection: HTTPConnection | None = None
    charged: set[str] = field(default_factory=set[str])
    admissions: list[Admission] = field(default_factory=list[Admission])
    decision: Decision | None = None
    started: bool = False


def visit_of(connection: HTTPConnection) -> Visit:
    """The visit of a request.

    Raises:
        RuntimeError: the app was never given to `gate.install`, so nothing would settle the charge.
    """
    visit = connection.scope.get(SCOPE_KEY)
    if not isinstance(visit, Visit):
        raise RuntimeError("this route is gated, but its app is not: call gate.install(app)")
    return visit
