"""Messages to people: who is written to, what is sent, and the port that sends it."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Protocol

from pydantic import BaseModel, ConfigDict, JsonValue

__all__ = ["Body", "MessageContext", "Notifier", "Profile", "ProfileResolver"]


class Profile(BaseModel):
    """What a message needs to know of a subject.

    Any further keyword becomes an attribute that templates can use: `Profile(email=…, team="Blue")` → `{{
    user.team }}`.

    Args:
        email: where to write to; None means the subject cannot be written to.
        name: how to address the person; None lets the template fall back to a neutral greeting.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    email: str | None = None
    name: str | None = None


ProfileResolver = Callable[[str], Awaitable[Profile | None]]
"""From a subject's id to its profile; None when there is no such person."""

Body = dict[str, JsonValue]
"""A rendered message as the adapter will send it.

Plain JSON, frozen in the outbox before the first attempt.
"""


class MessageContext(BaseModel):
    """What a template can say. Every value is plain data; the template sees them under these names.

    Attributes:
        template: the template's name as the loop's author wrote it.
        subject_line: the e-mail's subject given in the loop, or None for the template's own.
        user: the recipient.
        data: `message`, `loop`, `meter`, `plan`, `limit`, `used`, `remaining`, `period`, `resets_at` (ISO
            8601) and `upgrade_url`. None means there is no such value: a template can ask, but not print it.
        personalization: the action's own variables, as its author wrote them: each is a small template over
            `user` and `data`, and the notifier fills it in.
        event: the row or payload that started it.
        row: the row that the condition's query found.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    template: str
    subject_line: str | None = None
    user: Profile
    data: dict[str, JsonValue]
    personalization: dict[str, str] = {}
    event: dict[str, JsonValue] = {}
    row: dict[str, JsonValue] = {}


class Notifier(Protocol):
    """Sends one message to one person.

    Adapters are safe to use from several tasks of one event loop. They keep no queue and retry nothing: the
    outbox does.
    """

    @property
    def remembers_keys(self) -> timedelta:
        """How long the provider takes a repeated idempotency key for the same message.

        Zero if it never does.
        """
        ...

    def check(
        self,
        template: str,
        *,
        subject_line: str | None = None,
        personalization: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse, at start-up, a template that cannot be sent.

        Args:
            template: its name.
            subject_line: the e-mail's subject given in the loop, if any; as in `MessageContext`.
            personalization: the action's own variables, which the template may use; as in `MessageContext`.

        Raises:
            LookupError: there is no such template; the message names the places that were searched.
            ValueError: the template does not compile, uses an unknown variable, or lacks a subject or text
                part.
        """
        ...

    def render(self, context: MessageContext) -> Body:
        """Turn a message into what will be sent. Pure: the same context gives the same body.

        Raises:
            DeliveryRefused: a value is missing, the address is unusable, or a header would be broken up.
        """
        ...

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Hand a rendered message to the provider; at most 10 s.

        Args:
            body: what `render` returned, possibly in another process and hours ago.
            idempotency_key: 1–256 printable ASCII characters, the same for every attempt at one message.

        Returns:
            The provider's id of the message, if it gives one.

        Raises:
            DeliveryFailed: not accepted, worth another try.
            DeliveryRefused: not accepted, and never will be.
            DeliveryUnknown: handed over, but no answer came.
        """
        ...

    async def aclose(self) -> None:
        """Release connections. May be called twice."""
        ...
