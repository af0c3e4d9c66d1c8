"""An assertion about what an app has answered, which shows what differs when it fails."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

from skene.testing.expecting import ABSENT, LEGEND, differences

__all__ = ["Answer", "expect_answer"]

_TELLING = ("content-type", "location", "retry-after", "ratelimit", "ratelimit-policy", "idempotency-key")
_LONGEST = 2_000  # characters of a body that are shown


class Answer(Protocol):
    """What httpx, requests and the TestClient of FastAPI return."""

    @property
    def status_code(self) -> int:
        """E.g. 402."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, in any case."""
        ...

    @property
    def text(self) -> str:
        """The body."""
        ...


def expect_answer(
    answer: Answer, status: int, /, *, headers: Mapping[str, str | None] | None = None, **members: Any
) -> Any:
    """Check what an app has answered; what is not named here may be anything.

    Args:
        answer: of httpx, requests or a TestClient.
        status: the expected one.
        headers: those that are looked at, in any case; None for one that must be absent.
        members: of the JSON object in the body, such as `code="usage_limit_reached", used=100`.

    Returns:
        The body: decoded where it is JSON, else as text.

    Raises:
        AssertionError: something differs; shows what, and the answer.
    """
    __tracebackhide__ = True
    body = _decoded(answer.text)
    wanted: dict[str, Any] = {"status": status}
    found: dict[str, Any] = {"status": answer.status_code}
    sent = {name.lower(): value for name, value in answer.headers.items()}
    for name, value in (headers or {}).items():
        wanted[f"header {name}"] = ABSENT if value is None else value
        found[f"header {name}"] = sent.get(name.lower(), ABSENT)
    inside = _members(body)
    for name, value in members.items():
        wanted[f"body.{name}"] = value
        found[f"body.{name}"] = inside.get(name, ABSENT)
    lines = differences(wanted, found)
    if lines:
        asked = {name.lower() for name in headers or {}}
        told = [f"the answer is not as expected {LEGEND}:", *lines, "all of it:"]
        raise AssertionError("\n".join([*told, *_shown(answer, sent, asked, body)]))
    return body


# -- inside ------------------------------------------------------------------------------------------------


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _members(body: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", body) if isinstance(body, dict) else {}


def _shown(answer: Answer, sent: Mapping[str, str], asked: set[str], body: Any) -> Iterable[str]:
    yield f"  HTTP {answer.status_code}"
    yield from (f"  {name}: {value}" for name, value in sent.items() if name in asked or name in _TELLING)
    text = body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
    yield from (f"  {line}" for line in cut.splitlines())
