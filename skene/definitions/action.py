"""What a step does: the `action` namespace."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self, TypeGuard

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from skene.definitions.actions import (
    FunctionAction,
    GrantAction,
    Personalization,
    Provider,
    WebhookAction,
)
from skene.definitions.base import Definition, part
from skene.definitions.checks import Flag, choice, one_of, text
from skene.definitions.faults import DefinitionError, Fault, describe, refuse, under
from skene.definitions.values import as_list

__all__ = ["BlockAction", "EmailAction", "block", "email", "function", "grant", "webhook"]

_TEMPLATE = (
    'the name of a template such as "upgrade_prompt" (A-Z a-z 0-9 _ - . and / between folders), '
    'or of one that the provider hosts such as "resend:welcome"'
)
_HOSTED = r"[a-z][a-z0-9_-]*:[A-Za-z0-9_-]+"
_PATH = r"(?!.*\.\.)(?:(?!\./)[A-Za-z0-9_.-]+/)*(?!\.$)[A-Za-z0-9_.-]+"
_MESSAGE = "a message of 1 to 2,000 characters"
_SHARES = "shares of the limit above 0 and up to 1, each once and ascending, such as (0.8, 1.0)"


def _status(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 400 <= value <= 499:
        raise refuse(value, "an HTTP status from 400 to 499, such as 402 or 429")
    return int(value)


def _share(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1


def _shares(value: object) -> tuple[float, ...]:
    given = as_list(value)
    if given is None:
        raise refuse(value, _SHARES, f"({value},)" if _share(value) else None)
    shares = [one for one in given if _share(one)]
    if len(shares) < len(given):
        wrong = [(place, one) for place, one in enumerate(given) if not _share(one)]
        raise DefinitionError(Fault(f"[{place}]", describe(one), _SHARES) for place, one in wrong)
    for place, (before, after) in enumerate(pairwise(shares), start=1):
        if after <= before:
            raise refuse(after, _SHARES, path=f"[{place}]", given=f"{after} after {before}")
    return tuple(float(one) for one in shares)


class EmailAction(Definition, frozen=True):
    """An e-mail made from a template.

    Attributes:
        provider: The notifier that sends it, by its name in `Skene(notifiers=…)`; None for the only one.
        template: The template's name.
        personalization: What the template's variables stand for.
        subject: The subject line; None for the template's own.
        transactional: People who have unsubscribed get it all the same, at any hour. Mails of a limit always
            are; for others it must be true that nobody would call them advertising.
    """

    example: ClassVar[str] = 'action.email("upgrade_prompt")'

    type: Annotated[Literal["email"], choice("email")] = "email"
    provider: Provider | None = None
    template: Annotated[str, text(_TEMPLATE, 200, pattern=f"{_HOSTED}|{_PATH}")] = Field(
        description=_TEMPLATE
    )
    personalization: Personalization | None = None
    subject: Annotated[str, text("one line of 1 to 200 characters", 200)] | None = None
    transactional: Flag = False


AnyEmail = Annotated[EmailAction, PlainValidator(one_of(EmailAction))]
"""An e-mail as the field of a definition."""


class BlockAction(Definition, frozen=True):
    """Refuses calls over the limit, asks once to upgrade, and may warn before.

    Attributes:
        message: What the refused caller reads.
        upgrade_prompt: The e-mail that the first refusal of a window sends.
        status_code: The HTTP status of a refusal; None for 402 (403 where the plan's limit is 0).
        notify_at: The shares of the limit that send a warning when they are reached.
        warning: The warning as it was given; `usage_warning` is the one to send.
    """

    example: ClassVar[str] = 'action.block("You have reached your limit.")'

    type: Annotated[Literal["block"], choice("block")] = "block"
    message: Annotated[str, text(_MESSAGE, 2000, lines=True)] = Field(description=_MESSAGE)
    upgrade_prompt: AnyEmail | None = None
    status_code: Annotated[int, BeforeValidator(_status)] | None = None
    notify_at: Annotated[tuple[float, ...], BeforeValidator(_shares)] = ()
    warning: AnyEmail | None = None

    @property
    def usage_warning(self) -> EmailAction | None:
        """The warning to send: the one given, else skene's own template; None without `notify_at`."""
        return (self.warning or EmailAction(template="usage_warning")) if self.notify_at else None

    @model_validator(mode="after")
    def _warning_is_sent(self) -> Self:
        if self.warning and not self.notify_at:
            allowed = "notify_at as well, such as (0.8,)"
            raise refuse(self.warning, allowed, path="warning", given="an e-mail that is never sent")
        return self


FiringAction = EmailAction | WebhookAction | GrantAction | FunctionAction
"""What a step that a firing sets off can do."""
Action = BlockAction | FiringAction

read_action: Callable[[object], Action] = one_of(
    BlockAction, EmailAction, WebhookAction, GrantAction, FunctionAction
)


def _actions(value: object) -> Action | tuple[Action, ...]:
    given = as_list(value)
    if given is None:
        return read_action(value)
    if not given:
        raise refuse(value, "an action, or a list of at least one")
    read: list[Action] = []
    faults: list[Fault] = []
    for place, one in enumerate(given):
        try:
            read.append(read_action(one))
        except DefinitionError as error:
            faults += under(f"[{place}]", error.faults)
    if faults:
        raise DefinitionError(faults)
    return tuple(read)


StepAction = Annotated[Action | tuple[Action, ...], PlainValidator(_actions)]
"""An action, or several, as the field of a step."""


def email(
    template: str,
    *,
    provider: str | None = None,
    personalization: Mapping[str, str] | None = None,
    subject: str | None = None,
    transactional: bool = False,
) -> EmailAction:
    """Describes an e-mail.

    Args:
        template: The name of a template: a file of yours or of skene's, or one hosted by the provider.
        provider: The notifier that sends it, by its name in `Skene(notifiers=…)`.
        personalization: What the template's variables stand for: `{"name": "{{user.name}}"}`.
        subject: The subject line, if not the template's own.
        transactional: True for what nobody would call advertising: it is sent to those who have unsubscribed,
            too, and at any hour. Needless for the mails of a limit.
    """
    return part(
        EmailAction,
        type="email",
        provider=provider,
        template=template,
        personalization=personalization,
        subject=subject,
        transactional=transactional,
    )


def block(
    message: str,
    *,
    upgrade_prompt: EmailAction | None = None,
    status_code: int | None = None,
    notify_at: Sequence[float] = (),
    warning: EmailAction | None = None,
) -> BlockAction:
    """Refuses calls over the limit.

    Args:
        message: What the refused caller reads, up to 2,000 characters.
        upgrade_prompt: The e-mail that the first refusal in a window sends, once.
        status_code: The HTTP status of a refusal, 400 to 499. Left out: 402, or 403 for a limit of 0.
        notify_at: Shares of the limit, such as `(0.8, 1.0)`, that send a warning when they are reached.
        warning: The e-mail that `notify_at` sends. Left out: skene's own `usage_warning`.
    """
    return part(
        BlockAction,
        type="block",
        message=message,
        upgrade_prompt=upgrade_prompt,
        status_code=status_code,
        notify_at=notify_at,
        warning=warning,
    )


def webhook(provider: str, event: str, *, payload: Mapping[str, str] | None = None) -> WebhookAction:
    """Posts a signed webhook to a host that is configured in `Skene(notifiers=…)`.

    Args:
        provider: The `WebhookNotifier` that sends it, by its name there.
        event: What it is called in the body: `"user.activated"`.
        payload: Values to send besides the subject and the rows: `{"name": "{{user.name}}"}`.
    """
    return part(WebhookAction, type="webhook", provider=provider, event=event, payload=payload)


def grant(
    units: int, *, meter: str | None = None, expires: str | timedelta | None = None, reason: str = ""
) -> GrantAction:
    """Gives the subject extra units, which are spent once the plan's own are used up.

    Args:
        units: How many.
        meter: Of which meter. Left out: of the only one there is.
        expires: How long they can be used, such as `"90d"`. Left out: for ever.
        reason: For people who look into it later.
    """
    return part(GrantAction, type="grant", units=units, meter=meter, expires=expires, reason=reason)


def function(run: Callable[[Any], Any], *, repeatable: bool = False) -> FunctionAction:
    """Calls a function of yours, from a worker.

    Args:
        run: Called with the `Occasion`; it may be async, else it runs in a thread, and may take up to 15
            seconds. What it raises is tried again as the loop's recovery says.
        repeatable: True if calling it twice for one occasion does no harm: then it is called again if the
            process dies in the middle. Otherwise that is left to a person.
    """
    return part(FunctionAction, type="function", function=run, repeatable=repeatable)
