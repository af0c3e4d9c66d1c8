"""Pay as you go: a limit whose use goes on the customer's bill."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from skene.definitions.base import Definition, Faulty, part
from skene.definitions.checks import text
from skene.definitions.faults import DefinitionError, Fault, join, nearest, refuse, under
from skene.definitions.units import LARGEST, Unlimited, parse_limit
from skene.definitions.values import as_mapping, repeated_keys

__all__ = ["Billed", "PlanLimit", "billed", "read_limit"]

_KEY = "billed"
_UNITS = "a whole number from 0 to 2**63-1"
_METER = "the name of the billing service's meter, 1 to 100 characters, without control characters"


def _units(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
        whole = isinstance(value, float) and value.is_integer() and 0 <= value <= LARGEST
        raise refuse(value, _UNITS, str(int(value)) if isinstance(value, float) and whole else None)
    return int(value)


def _cap(value: object) -> int | None:
    return None if value is None else _units(value)


class Billed(Definition, frozen=True):
    """A limit that is paid for by use: nobody is refused below the cap, and what is used is reported.

    Attributes:
        included: Units of each window that the plan's price covers; they are not reported.
        meter: The name of the billing service's meter: at Stripe the `event_name` of its meter events.
        cap: Units per window after which calls are refused; None: no cap.
    """

    example: ClassVar[str] = 'billed(included=1000, meter="api_calls", cap=5000)'

    included: Annotated[int, BeforeValidator(_units)] = 0
    meter: Annotated[str, text(_METER, 100)] = Field(description=_METER)
    cap: Annotated[int | None, BeforeValidator(_cap)] = None

    @model_validator(mode="after")
    def _cap_is_not_below(self) -> Self:
        if self.cap is not None and self.cap < self.included:
            allowed = f"at least what is included, which is {self.included}; or no cap"
            raise refuse(self.cap, allowed, path="cap")
        return self

    def dump_fields(self, path: str, faults: list[Fault]) -> Any:
        """Does the work of `dump`, under the key that tells it from a number."""
        return {_KEY: super().dump_fields(join(path, _KEY), faults)}


PlanLimit = int | Literal[Unlimited.UNLIMITED] | Billed
"""What the limit of a plan may be."""


def billed(*, meter: str, included: int = 0, cap: int | None = None) -> Billed:
    """Makes a limit that is paid for by use, to stand where a number would.

    Args:
        meter: The name of the billing service's meter: at Stripe the `event_name` of its meter events.
        included: Units of each window that the plan's price covers. What is used beyond them is reported.
        cap: Units per window after which calls are refused, so that no bill surprises anybody.
    """
    return part(Billed, included=included, meter=meter, cap=cap)


def read_limit(value: object, path: str = "") -> PlanLimit:
    """Reads the limit of a plan: what `parse_limit` reads, or a `Billed` as `{"billed": {…}}`.

    Args:
        value: The limit as given.
        path: Where it stands, for the message.

    Raises:
        DefinitionError: For anything else.
    """
    given = as_mapping(value)
    if given is None and not isinstance(value, (Billed, Faulty)):
        return parse_limit(value, path)
    if given is not None:
        value, path = _under_its_key(given, path), join(path, _KEY)
    try:
        return Billed.read(value)
    except DefinitionError as error:
        raise DefinitionError(under(path, error.faults)) from None


def _under_its_key(given: Mapping[object, object], path: str) -> object:
    faults = under(path, repeated_keys(given))
    if set(given) != {_KEY}:
        wrong = next((key for key in given if key != _KEY), None)
        near = nearest(wrong, (_KEY,))
        faults.append(
            Fault(
                path,
                f"an object with {'no key' if wrong is None else f'the key {wrong!r}'}",
                f'a number, "unlimited" or {{"{_KEY}": {{"meter": …}}}}',
                near and f'"{near}"',
            )
        )
    if faults:
        raise DefinitionError(faults)
    return given[_KEY]
