"""Messages to people: who is written to, what is sent, the port that sends it, and what became of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel, ConfigDict, JsonValue

__all__ = [
    "FOREVER",
    "About",
    "Body",
    "MessageContext",
    "Notifier",
    "Profile",
    "ProfileResolver",
    "Report",
    "ReportKind",
    "Reporting",
]

About: TypeAlias = Literal["limit", "loop"]
"""What a message is about, and so which values its template may use: a subject's limit, or any other loop."""

FOREVER = timedelta(days=36_500)
"""How long keys are remembered by whoever never forgets them."""

ReportKind: TypeAlias = Literal["bounced", "complained", "delivered", "opened", "clicked", "failed"]
"""What a provider says became of a message."""


class Profile(BaseModel):
    """What a message needs to know of a subject.

    Any further keyword becomes an attribute that templates can use: `Profile(email=…, team="Blue")` → `{{
    user.team }}`.

    Args:
        email: where to write to; None means the subject cannot be written to.
        name: how to address the person; None lets the template fall back to a neutral greeting.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True, defer_build=True)

    email: str | None = None
    name: str | None = None

    if TYPE_CHECKING:  # without it they would not know that any further keyword is welcome

        def __init__(self, *, email: str | None = None, name: str | None = None, **more: Any) -> None: ...


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
        data: of a message about a limit `message`, `loop`, `meter`, `plan`, `limit`, `used`, `remaining`,
            `period`, `resets_at` (ISO 8601) and `upgrade_url`; of any other `loop` and whatever else is
            known. None means there is no such value: a template can ask, but not print it.
        personalization: the action's own variables, as its author wrote them: each is a small template over
            all the other values, and the notifier fills it in.
        event: the trigger's row or payload; empty if there is none.
        row: the query's row; empty if there is none.
        unsubscribe_url: where the recipient says that no more such messages are wanted. A mail that has it
            carries it in its headers too. None for a message that cannot be declined.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)

    template: str
    subject_line: str | None = None
    user: Profile
    data: dict[str, JsonValue]
    personalization: dict[str, str] = {}
    event: dict[str, JsonValue] = {}
    row: dict[str, JsonValue] = {}
    unsubscribe_url: str | None = None


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

    @property
    def pace(self) -> timedelta | None:
        """The shortest time between two messages that the provider bears, over all workers; None: any.

        The outbox keeps it: an adapter need not wait.
        """
        ...

    def check(
        self,
        template: str,
        *,
        subject_line: str | None = None,
        personalization: Mapping[str, str] | None = None,
        about: About = "limit",
    ) -> None:
        """Refuse, at start-up, a template that cannot be sent.

        Args:
            template: its name.
            subject_line: the e-mail's subject given in the loop, if any; as in `MessageContext`.
            personalization: the action's own variables, which the template may use; as in `MessageContext`.
            about: which other values there will be. `limit`: `user` and the `data` of a message about a
                limit. `loop`: `user`, `event`, `row`, `loop`, `upgrade_url`, `unsubscribe_url`; whatever is
                asked of the first three may be there.

        Raises:
            LookupError: there is no such template; the message names the places that were searched.
            ValueError: the template does not compile, uses an unknown variable, or lacks a subject or text
                part.
        """
        ...

    def render(self, context: MessageContext) -> Body:
        """Turn a message into what will be sent. Pure: the same context gives the same body.

        Raises:
            DeliveryRefused: a value is missing, the address or the unsubscribe link is unusable, or a header
                would be broken up.
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


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider says became of a message.

    Attributes:
        kind: what happened.
        address: whom it happened to, as a bare address; None if that cannot be told.
        provider_id: the provider's id of the message, as `Notifier.send` returned it; None if unknown.
        id: of this report; the same when the provider repeats it.
        permanent: nothing should be sent to that address any more: a bounce for good, or a complaint.
    """

    kind: ReportKind
    address: str | None = field(repr=False)
    provider_id: str | None
    id: str
    permanent: bool


@runtime_checkable
class Reporting(Protocol):
    """A notifier whose provider reports, by webhook, what became of messages."""

    def parse_report(self, body: bytes, headers: Mapping[str, str], now: datetime) -> Report | None:
        """Verify and read a webhook.

        Args:
            body: the raw bytes as received.
            headers: of the request, names in any case.
            now: aware UTC, for the age check.

        Returns:
            What it reports; None if it is authentic and about nothing that skene acts on.

        Raises:
            WebhookRejected: whatever is wrong with it (400 or 401); never anything else, for any bytes at
                all.
        """
        ...
