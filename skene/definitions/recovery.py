"""What happens when an action fails: `Recovery`."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, model_validator

from skene.definitions.base import Definition
from skene.definitions.checks import Duration, choice
from skene.definitions.faults import refuse
from skene.definitions.units import format_duration

Backoff = Literal["exponential", "linear", "fixed"]


def _retries(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise refuse(value, "a whole number from 0 (one attempt, no more) to 100")
    return int(value)


class Recovery(Definition, frozen=True):
    """How often and how patiently a failed action, such as an e-mail, is tried again.

    The refusal of a call is no action that could fail: `retries=0` says that a prompt is attempted once.

    Args:
        retries: Additional attempts after the first, 0 to 100.
        backoff: `"exponential"` doubles the pause each time, `"linear"` lengthens it by `base`, `"fixed"`
            keeps it.
        base: The first pause, such as `"1s"`.
        cap: The longest pause, such as `"5m"`; not shorter than `base`.

    Raises:
        DefinitionError: At once, with every fault.
    """

    example: ClassVar[str] = "Recovery(retries=3)"

    retries: Annotated[int, BeforeValidator(_retries)] = 3
    backoff: Annotated[Backoff, choice(*get_args(Backoff))] = "exponential"
    base: Duration = timedelta(seconds=1)
    cap: Duration = timedelta(minutes=5)

    if TYPE_CHECKING:  # durations are written as text, which the fields' types do not say

        def __init__(
            self,
            *,
            retries: int = 3,
            backoff: Backoff = "exponential",
            base: str | timedelta = "1s",
            cap: str | timedelta = "5m",
        ) -> None: ...

    @model_validator(mode="after")
    def _cap_is_reached(self) -> Self:
        if self.cap < self.base:
            at_least = f"a duration not shorter than base, which is {format_duration(self.base)}"
            raise refuse(self.cap, at_least, path="cap", given=format_duration(self.cap))
        return self
