"""What the gate answers: problem details (RFC 9457) and the RateLimit fields of the current IETF draft."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from math import ceil
from typing import Any

from starlette.responses import JSONResponse, Response

from skene.definitions.faults import REFERENCE
from skene.engine.decision import Decision, Reason
from skene.engine.spent import MASK, UNITS, WIDTH

__all__ = [
    "Refused",
    "as_json",
    "plain_fields",
    "problem",
    "rate_limit_fields",
    "refusal",
    "unavailable",
    "unknown_subject",
]

SECOND = 1_000_000_000

MEDIA_TYPE = "application/problem+json"
TITLES = {
    Reason.LIMIT_REACHED: "Usage limit reached",
    Reason.NOT_IN_PLAN: "Feature not in plan",
    Reason.MEMBER_LIMIT_REACHED: "Member limit reached",
    Reason.CAP_REACHED: "Spend cap reached",
}


class Refused(Exception):
    """Carries an answer out of a dependency or a websocket, where none can be returned."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__(f"answered {response.status_code} by the gate")


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem+json answer."""
    body = {
        "type": f"{REFERENCE}/http.md#{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


def refusal(decision: Decision) -> Response:
    """The answer to a call that was not admitted."""
    headers: dict[str, str] = {}
    if decision.status_code == 429 and decision.resets_at and decision.decided_at:
        headers["Retry-After"] = str(_seconds(decision.resets_at, decision.decided_at))
    return problem(
        decision.status_code,
        str(decision.reason),
        TITLES.get(decision.reason, "Refused"),
        decision.message or "",
        headers=headers,
        **as_json(decision),
        upgrade_url=decision.upgrade_url,
    )


def unavailable(retry_after: float) -> Response:
    """The answer while nothing can be counted: an outage, never a limit."""
    return problem(
        503,
        "storage_unavailable",
        "Temporarily unavailable",
        "Usage cannot be counted at the moment; nothing was charged. Try again shortly.",
        headers={"Retry-After": str(max(1, ceil(retry_after)))},
    )


def unknown_subject() -> Response:
    """The answer to a request that names nobody to count."""
    return problem(
        401,
        "subject_unknown",
        "Not authenticated",
        "Usage is counted per user, and this request names none.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def as_json(decision: Decision) -> dict[str, Any]:
    """How a subject stands, as the answers and `GET …/usage` show it."""
    billed = {"included": decision.included, "billed_units": decision.billed_units}
    return {
        "loop": decision.loop,
        "meter": decision.meter,
        "plan": decision.plan,
        "limit": decision.limit,
        "used": decision.used,
        "remaining": decision.remaining,
        "period": decision.period,
        "resets_at": decision.resets_at.isoformat() if decision.resets_at else None,
        **({} if decision.member is None else {"member": decision.member}),
        **({} if decision.included is None else billed),
    }


def rate_limit_fields(decision: Decision, given_back: int = 0) -> list[tuple[bytes, bytes]]:
    """The `RateLimit-Policy` and `RateLimit` fields; none where nothing is limited.

    Args:
        given_back: units returned because the call failed.
    """
    if decision.limit is None or decision.decided_at is None:
        return []
    name = _quoted(decision.plan)
    policy, state = f"{name};q={decision.limit}", f"{name};r={(decision.remaining or 0) + given_back}"
    if decision.resets_at is not None and decision.window_start is not None:
        policy += f";w={_seconds(decision.resets_at, decision.window_start)}"
        state += f";t={_seconds(decision.resets_at, decision.decided_at)}"
    return [(b"ratelimit-policy", policy.encode("ascii")), (b"ratelimit", state.encode("ascii"))]


def plain_fields(plan: str, limit: int | None, counter: int, now: int) -> tuple[tuple[bytes, bytes], ...]:
    """The same for a plain call, from its numbers: those of a `Spent`."""
    if limit is None:
        return ()
    end = counter & MASK
    policy, state = _policy(plan, limit, end - (counter >> WIDTH & MASK))
    left, seconds = limit - (counter >> UNITS), -((now - end) // SECOND)
    # Less than nothing is left where a limit was lowered under what was used, and a grant has paid.
    return policy, (b"ratelimit", state % (max(0, left), max(0, seconds)))


@lru_cache(maxsize=1024)
def _policy(plan: str, limit: int, length: int) -> tuple[tuple[bytes, bytes], bytes]:
    """The field that is the same for all who have a plan's limit, and what the other one is made of."""
    name = _quoted(plan)
    policy = f"{name};q={limit};w={-(-length // SECOND)}"
    state = f"{name.replace('%', '%%')};r=%d;t=%d"
    return (b"ratelimit-policy", policy.encode("ascii")), state.encode("ascii")


def _quoted(name: str) -> str:
    """A structured-field string: printable ASCII, quotes and backslashes escaped."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in name)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _seconds(later: datetime, earlier: datetime) -> int:
    return max(0, ceil((later - earlier).total_seconds()))
