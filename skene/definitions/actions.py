"""The actions that follow a firing besides mail, one class for each, and what they share with mail."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainValidator

from skene.definitions.base import Definition
from skene.definitions.checks import Duration, Flag, choice, text
from skene.definitions.conditions import MeterName, takes_one_argument
from skene.definitions.faults import DefinitionError, Fault, describe, key_path, refuse
from skene.definitions.triggers import EventName
from skene.definitions.units import LARGEST
from skene.definitions.values import FrozenDict, as_mapping, repeated_keys

__all__ = ["FunctionAction", "GrantAction", "Personalization", "Provider", "WebhookAction"]

_PROVIDER = 'the name of a notifier such as "resend" (a-z 0-9 _ -, a letter first)'
_VARIABLE = "the name of a variable: letters, digits and _"
_UNITS = "a whole number from 1 to 2**63-1"
_FUNCTION = "a function of one argument, the occasion; it may be async"


def _personalization(value: object) -> FrozenDict[str, str]:
    allowed = 'text for each variable of the template, such as {"name": "{{user.name}}"}'
    given = as_mapping(value)
    if given is None:
        raise refuse(value, allowed)
    faults = repeated_keys(given)
    read: dict[str, str] = {}
    for key, entry in given.items():
        if isinstance(key, str) and key.isidentifier() and isinstance(entry, str):
            read[key] = entry
        elif isinstance(key, str) and key.isidentifier():
            faults.append(Fault(key_path(key), describe(entry, key), "text"))
        else:
            faults.append(Fault(key_path(key), describe(key), _VARIABLE))
    if faults:
        raise DefinitionError(faults)
    return FrozenDict(read)


def _units(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
        raise refuse(value, _UNITS)
    return int(value)


def _function(value: object) -> Callable[[Any], Any]:
    return takes_one_argument(value, _FUNCTION)


Provider = Annotated[str, text(_PROVIDER, 50, pattern=r"[a-z][a-z0-9_-]*")]
Personalization = Annotated[Mapping[str, str], PlainValidator(_personalization)]


class WebhookAction(Definition, frozen=True):
    """A signed POST to a host that is configured, never one that a loop names.

    Attributes:
        provider: The notifier that sends it, by its name in `Skene(notifiers=…)`.
        event: The type of the event in the body.
        payload: Values to send besides the subject and the rows.
    """

    example: ClassVar[str] = 'action.webhook("crm", "user.activated")'

    type: Annotated[Literal["webhook"], choice("webhook")] = "webhook"
    provider: Provider = Field(description=_PROVIDER)
    event: EventName = Field(description='the type of the event, such as "user.activated"')
    payload: Personalization | None = None


class GrantAction(Definition, frozen=True):
    """Extra units for the subject.

    Attributes:
        units: How many.
        meter: Of which meter; None for the only one.
        expires: How long they can be used; None for ever.
        reason: For people.
    """

    example: ClassVar[str] = 'action.grant(50, expires="90d")'

    type: Annotated[Literal["grant"], choice("grant")] = "grant"
    units: Annotated[int, BeforeValidator(_units)] = Field(description=_UNITS)
    meter: MeterName | None = None
    expires: Duration | None = None
    reason: Annotated[str, text("one line of up to 200 characters", 200, shortest=0)] = ""


class FunctionAction(Definition, frozen=True):
    """A function of yours, called by a worker.

    Attributes:
        function: Called with the `Occasion`; it may be async.
        repeatable: Whether it may be called again if nobody knows how an earlier call ended.
    """

    example: ClassVar[str] = "action.function(tell_sales)"

    type: Annotated[Literal["function"], choice("function")] = "function"
    function: Annotated[Callable[[Any], Any], PlainValidator(_function)] = Field(description=_FUNCTION)
    repeatable: Flag = False
