"""Granting units by hand."""

from datetime import timedelta

from skene.definitions.faults import DefinitionError, under
from skene.definitions.units import parse_duration
from skene.engine.program import Program
from skene.engine.subject import storable_id
from skene.errors import MeterUnknown
from skene.ports.grants import Grant, Granted
from skene.runtime.counting import whole_units
from skene.runtime.gate import stored
from skene.runtime.parts import Parts

__all__ = ["GrantVerbs"]


class GrantVerbs:
    """`grant` and `grants`."""

    _parts: Parts

    async def grant(
        self,
        subject: str,
        meter: str,
        units: int,
        *,
        expires: timedelta | str | None = None,
        reason: str = "",
        key: str | None = None,
    ) -> bool:
        """Grant a subject units of a meter, on top of what the plan admits.

        They are spent once, when the plan's limit leaves no room, and not again in every window.

        Args:
            subject: who is granted them.
            meter: as a step's condition names it; where routes are counted apart, `meter:/path/of/route`.
            units: 1 or more.
            expires: for how long they can be spent, such as `"30d"`; None: for ever.
            reason: why, for people who look.
            key: any text; the same key grants a subject once, for ever. Without one every call grants.

        Returns:
            Whether they were granted now; False: this key has granted the subject something before.

        Raises:
            MeterUnknown: no step counts on this meter.
            ValueError: units that cannot be counted, no duration, or an empty key.
            StorageUnavailable: nothing is known to be granted.
        """
        if key is not None and not key:
            raise ValueError('key: got ""; give text that names the grant, or None')
        name = self._parts.clock.new_id() if key is None else storable_id(key)
        grant = Grant(
            name,
            stored(subject),
            _counter(self._parts.program, meter),
            whole_units(units),
            None if expires is None else _length(expires),
            reason,
        )
        return await self._parts.storage.grant(grant)

    async def grants(self, subject: str) -> tuple[Granted, ...]:
        """What a subject was granted, oldest first, and what of it is spent.

        Raises:
            StorageUnavailable: the storage is away.
        """
        return await self._parts.storage.grants(stored(subject))


def _length(expires: timedelta | str) -> timedelta:
    try:
        return parse_duration(expires)
    except DefinitionError as error:
        raise DefinitionError(under("expires", error.faults), "the grant") from None


def _counter(program: Program, meter: str) -> str:
    if any(step.by_route and meter.startswith(f"{step.meter}:/") for step in program.steps):
        return meter
    try:
        return program.metered(meter)[0].meter
    except LookupError as error:
        raise MeterUnknown(str(error)) from None
