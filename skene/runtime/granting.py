"""Units and limits that one subject has apart from its plan."""

from datetime import UTC, datetime, timedelta

from skene.definitions.faults import DefinitionError, under
from skene.definitions.units import Unlimited, parse_duration, parse_limit
from skene.engine.program import Program, member_of
from skene.engine.subject import storable_id
from skene.errors import MeterUnknown
from skene.ports.grants import Grant, Granted
from skene.ports.overrides import Overridden, Override
from skene.runtime.asks import stored
from skene.runtime.aware import check_aware
from skene.runtime.counting import whole_units
from skene.runtime.parts import Parts
from skene.runtime.telling import granted, override_ended, override_set

__all__ = ["GrantVerbs"]


class GrantVerbs:
    """`grant`, `grants`, the half of `override` that is about limits, `end_override` and `overrides`."""

    _parts: Parts

    async def grant(
        self,
        subject: str,
        meter: str,
        units: int,
        *,
        expires: timedelta | str | datetime | None = None,
        reason: str = "",
        key: str | None = None,
    ) -> bool:
        """Grant a subject units of a meter, on top of what the plan admits.

        They are spent once, when the plan's limit leaves no room, and not again in every window.

        Args:
            subject: who is granted them.
            meter: as a step's condition names it; where routes are counted apart, `meter:/path/of/route`; for
                a member of a team, `meter@member`.
            units: 1 or more.
            expires: for how long they can be spent, such as `"30d"`, or until when, an aware datetime; None:
                for ever.
            reason: why, for people who look.
            key: any text; the same key grants a subject once, for ever. Without one every call grants.

        Returns:
            Whether they were granted now; False: this key has granted the subject something before.

        Raises:
            MeterUnknown: no step counts on this meter.
            ValueError: units that cannot be counted, no duration, an instant that has passed or has no time
                zone, or an empty key.
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
            self._expires(expires, "the grant"),
            reason,
        )
        async with self._parts.unleased(grant.subject):
            return await self._parts.storage.grant(grant, granted(self._parts, grant))

    async def grants(self, subject: str) -> tuple[Granted, ...]:
        """What a subject was granted, oldest first, and what of it is spent.

        Raises:
            StorageUnavailable: the storage is away.
        """
        return await self._parts.storage.grants(stored(subject))

    async def _override_limit(
        self,
        subject: str,
        meter: str,
        limit: int | float | Unlimited | str,
        expires: timedelta | str | datetime | None = None,
        reason: str = "",
    ) -> Overridden:
        try:
            read = parse_limit(limit, "limit")
        except DefinitionError as error:
            raise DefinitionError(error.faults, "the override") from None
        override = Override(
            stored(subject),
            _counter(self._parts.program, meter),
            None if isinstance(read, Unlimited) else read,
            self._expires(expires, "the override"),
            reason,
        )
        async with self._parts.unleased(override.subject):
            return await self._parts.storage.set_override(override, override_set(self._parts, override))

    def _expires(self, expires: timedelta | str | datetime | None, of: str) -> timedelta | datetime | None:
        """As the port takes it: a length by the storage's clock, or the instant itself."""
        if not isinstance(expires, datetime):
            return None if expires is None else _length(expires, of)
        check_aware(expires=expires)
        if expires <= self._parts.clock.now():
            raise ValueError(
                f"expires: got {expires.isoformat()}, which has passed; give an instant that lies ahead"
            )
        return expires.astimezone(UTC)

    async def end_override(self, subject: str, meter: str) -> bool:
        """Take an override back, so that the plan's limit holds again. False: there was none in force.

        Raises:
            MeterUnknown: no step counts on this meter.
            StorageUnavailable: nothing is known to have changed.
        """
        who, counter = stored(subject), _counter(self._parts.program, meter)
        told = override_ended(self._parts, who, counter)
        async with self._parts.unleased(who):
            return await self._parts.storage.end_override(who, counter, told)

    async def overrides(self, subject: str) -> tuple[Overridden, ...]:
        """Every other limit that a subject was ever given, oldest first.

        Raises:
            StorageUnavailable: the storage is away.
        """
        return await self._parts.storage.overrides(stored(subject))


def _length(expires: timedelta | str, of: str) -> timedelta:
    try:
        return parse_duration(expires)
    except DefinitionError as error:
        raise DefinitionError(under("expires", error.faults), of) from None


def _counter(program: Program, meter: str) -> str:
    """The exact name of the counter that is meant."""
    if any(step.by_route and meter.startswith(f"{step.meter}:/") for step in program.steps):
        return meter
    member = None if any(step.meter == meter for step in program.steps) else member_of(meter)
    name = meter if member is None else meter.removesuffix(f"@{member}")
    try:
        steps = program.metered(name)
    except LookupError as error:
        raise MeterUnknown(str(error)) from None
    if member is None:
        return steps[0].meter
    if not steps[0].member_limits:
        raise MeterUnknown(f"{name!r} has no member_limit, so {meter!r} counts nothing")
    return f"{name}@{stored(member)}"
