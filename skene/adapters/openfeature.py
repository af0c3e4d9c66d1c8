"""Limits and features as flags of OpenFeature. Needs the extra `openfeature`.

`pip install "skene-sdk[openfeature]"`, and then

    await api.set_provider_and_wait(SkeneProvider(skene))
    client = api.get_client()
    await client.get_boolean_value_async("exports", False, EvaluationContext("ada"))
"""

from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol, TypeVar

from openfeature.evaluation_context import EvaluationContext  # pyright: ignore[reportMissingTypeStubs] - typed
from openfeature.exception import (
    FlagNotFoundError,
    GeneralError,
    InvalidContextError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata  # pyright: ignore[reportMissingTypeStubs] - typed

from skene.definitions.faults import nearest
from skene.definitions.units import LARGEST
from skene.engine.decision import Decision
from skene.engine.program import Program
from skene.errors import StorageUnavailable, SubjectInvalid

__all__ = ["SkeneProvider"]

T = TypeVar("T")
_ASYNC = "skene answers asynchronously: call the client's async methods, such as get_boolean_value_async"


class Asked(Protocol):
    """What answers: the app's `Skene`."""

    @property
    def program(self) -> Program:
        """The compiled loops."""
        ...

    async def check(self, subject: str, meter: str, units: int = 1, *, member: str | None = None) -> Decision:
        """Decide without charging."""
        ...


class SkeneProvider(AbstractProvider):
    """Answers flags from loops. Asking never charges anybody, and records nothing.

    A flag is the name of a meter, or of a feature that a `condition.feature` asks for. The targeting key of
    the evaluation context is the subject; its attribute `member`, if any, is who of a team asks.

    | type | value |
    | --- | --- |
    | boolean | Whether one unit would be admitted now. |
    | integer | Units that are left; 2**63-1 where there is no limit. |
    | string | The plan that was applied. |
    | object | `allowed`, `plan`, `used`, `limit` and `remaining`; these two are left out where unlimited. |

    The variant is the decision's reason, such as `usage_limit_reached`; the flag's metadata has `loop`,
    `plan`, `used` and `limit`. What cannot be answered is answered by the default, as ever with OpenFeature.

    Args:
        skene: your `Skene`, started by the app.
    """

    def __init__(self, skene: Asked) -> None:
        super().__init__()
        self._skene = skene

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name="skene")

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Whether one unit would be admitted now."""
        decision = await self._ask(flag_key, evaluation_context)
        return _details(decision, decision.allowed)

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Units that are left."""
        decision = await self._ask(flag_key, evaluation_context)
        left = decision.remaining
        return _details(decision, LARGEST if left is None else left)

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """The plan that was applied."""
        decision = await self._ask(flag_key, evaluation_context)
        return _details(decision, decision.plan)

    async def resolve_object_details_async(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """How the subject stands."""
        decision = await self._ask(flag_key, evaluation_context)
        stands: dict[str, FlagValueType] = {
            "allowed": decision.allowed,
            "plan": decision.plan,
            "used": decision.used,
        }
        if decision.limit is not None:
            stands |= {"limit": decision.limit, "remaining": decision.remaining or 0}
        return _details(decision, stands)

    async def resolve_float_details_async(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Nothing: units are whole."""
        raise TypeMismatchError(f"{flag_key!r} counts whole units: ask for a boolean or an integer")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> NoReturn:
        """Refuse: it would have to wait for the storage."""
        raise GeneralError(_ASYNC)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> NoReturn:
        """Refuse, as for a boolean."""
        raise GeneralError(_ASYNC)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> NoReturn:
        """Refuse, as for a boolean."""
        raise GeneralError(_ASYNC)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> NoReturn:
        """Refuse, as for a boolean."""
        raise GeneralError(_ASYNC)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> NoReturn:
        """Refuse, as for a boolean."""
        raise GeneralError(_ASYNC)

    async def _ask(self, flag: str, about: EvaluationContext | None) -> Decision:
        meter = self._meter(flag)
        subject = about.targeting_key if about else None
        if not subject:
            raise TargetingKeyMissingError("the targeting key is the subject's id; this context has none")
        member = about.attributes.get("member") if about else None
        if member is not None and not isinstance(member, str):
            raise InvalidContextError("the attribute `member` is the id of who asks, as text")
        try:
            return await self._skene.check(subject, meter, member=member)
        except SubjectInvalid as error:
            raise InvalidContextError(str(error)) from error
        except StorageUnavailable as error:
            raise GeneralError(f"storage unavailable: {error}") from error

    def _meter(self, flag: str) -> str:
        steps = self._skene.program.steps
        by_name = {step.feature: step.meter for step in steps if step.feature is not None}
        by_name |= {step.meter: step.meter for step in steps}
        if flag not in by_name:
            near = nearest(flag, by_name)
            hint = f"; did you mean {near!r}?" if near else ""
            known = ", ".join(sorted(by_name)) or "none"
            raise FlagNotFoundError(f"no meter or feature is called {flag!r}; there are: {known}{hint}")
        return by_name[flag]


def _details(decision: Decision, value: T) -> FlagResolutionDetails[T]:
    known: dict[str, bool | int | float | str] = {
        "loop": decision.loop,
        "plan": decision.plan,
        "used": decision.used,
    }
    if decision.limit is not None:
        known["limit"] = decision.limit
    return FlagResolutionDetails(
        value=value,
        reason=Reason.TARGETING_MATCH,
        variant=str(decision.reason),
        flag_metadata=known,
    )
