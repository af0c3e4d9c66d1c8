"""Events that somebody else's service reports to a route of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

__all__ = ["EventSource", "SourceEvent"]


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """An authentic event.

    Attributes:
        id: the sender's id of the event, the same at each delivery; 1–255 printable ASCII characters.
        type: what kind of event it is; empty when the sender does not say.
        payload: what was sent.
    """

    id: str
    type: str
    payload: dict[str, JsonValue]


class EventSource(Protocol):
    """Tells whether a webhook is authentic, and reads it. Pure: no network, no clock of its own."""

    def parse(self, body: bytes, headers: Mapping[str, str], now: datetime) -> SourceEvent:
        """Verify and read a webhook.

        Args:
            body: the bytes as received; whoever receives them limits their number.
            headers: of the request, names in any case.
            now: aware UTC; the age of the signature is judged by it.

        Returns:
            The event. Its payload can be kept as JSON in any database: it has no lone surrogates, no NUL, no
            numbers that are not finite, and no more than 64 levels.

        Raises:
            WebhookRejected: 401 for a signature that is not the sender's, 400 for everything else that is
                wrong. Nothing else is raised, whatever the body and the headers are.
        """
        ...
