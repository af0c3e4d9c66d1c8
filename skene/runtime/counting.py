"""Counting by name, outside HTTP: what jobs, websockets and scripts call."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256

from skene.definitions.units import LARGEST
from skene.engine.decide import tightest
from skene.engine.decision import Decision, put_off
from skene.engine.spent import decide_spent
from skene.errors import MeterUnknown, QuotaExceeded
from skene.runtime.asks import Ask, asks_of
from skene.runtime.gate import Admission, Gatekeeper
from skene.runtime.hold import Hold
from skene.runtime.parts import Parts
from skene.runtime.spending import Plain

__all__ = ["CountingVerbs", "whole_units"]


class CountingVerbs:
    """`check`, `consume` and `reserve`."""

    _parts: Parts
    _gatekeeper: Gatekeeper
    _plain: Mapping[str, Plain]

    async def check(self, subject: str, meter: str, units: int = 1, *, member: str | None = None) -> Decision:
        """Decide without charging: would `units` be admitted now?

        Args:
            subject, meter, units, member: as in `consume`.

        Raises:
            MeterUnknown: no step counts on this meter.
            StorageUnavailable: the storage is away.
        """
        decisions = await self._gatekeeper.look(subject, self._asks(meter, units, member))
        return decisions[tightest(decisions)]

    async def consume(
        self,
        subject: str,
        meter: str,
        units: int = 1,
        *,
        member: str | None = None,
        idempotency_key: str | None = None,
    ) -> Decision:
        """Charge and decide. A refusal charges nothing, and asks to upgrade once per window.

        Args:
            subject: who is counted.
            meter: as a step's condition names it.
            units: 1 or more.
            member: where the subject is a team, who of it calls: their `member_limit` holds, too.
            idempotency_key: any text; repeating the same key charges once.

        Raises:
            MeterUnknown: no step counts on this meter.
            IdempotencyConflict: the key was used for another meter or number of units.
            StorageUnavailable: nothing is known to be charged.
            ValueError: units that cannot be counted, or an empty key.
        """
        plain = self._plain.get(meter)
        if (
            plain is not None
            and member is None
            and idempotency_key is None
            and type(units) is int
            and 0 < units <= LARGEST
        ):
            spent = plain.spend(subject, units)
            if spent is not None:
                if plain.warns and plain.due(spent):
                    return (await self._gatekeeper.warn(plain, subject, units, spent)).decision
                return put_off((decide_spent, plain.step, subject, units, spent))
            if plain.short:
                return await self._spend(plain, subject, units)
        return (await self._admit(subject, meter, units, member, idempotency_key)).decision

    async def _spend(self, plain: Plain, subject: str, units: int) -> Decision:
        """Charge a plain call that the storage has to be asked about."""
        answer = await self._gatekeeper.spend(plain, subject, units)
        if isinstance(answer, Admission):
            return answer.decision
        return put_off((decide_spent, plain.step, subject, units, answer))

    @asynccontextmanager
    async def reserve(
        self, subject: str, meter: str, units: int, *, member: str | None = None
    ) -> AsyncGenerator[Hold]:
        """Hold units now, and settle what was really used: `hold.used(n)`.

        Unsettled, all of them stay charged. An exception gives everything back.

        Args:
            subject, meter, units, member: as in `consume`.

        Raises:
            QuotaExceeded: the units are not there; carries the decision.
            MeterUnknown, StorageUnavailable: as `consume`.
        """
        admission = await self._admit(subject, meter, units, member, None)
        if not admission.decision.allowed:
            raise QuotaExceeded(admission.decision)
        hold = Hold(admission.decision, units)
        try:
            yield hold
        except BaseException:
            await self._gatekeeper.release(admission)
            raise
        if hold.settled is not None and hold.settled < units:
            await self._gatekeeper.release(admission, cost=units - hold.settled)

    def _asks(self, meter: str, units: int, member: str | None) -> tuple[Ask, ...]:
        whole_units(units)
        try:
            return asks_of(self._parts.program.metered(meter)[0], units, member)
        except LookupError as error:
            raise MeterUnknown(str(error)) from None

    async def _admit(
        self, subject: str, meter: str, units: int, member: str | None, key: str | None
    ) -> Admission:
        asks = self._asks(meter, units, member)
        if key is None:
            return await self._gatekeeper.admit(subject, asks)
        if not key:
            raise ValueError('idempotency_key: got ""; give text that names the call, or None')
        # Hashed as the HTTP edge does it: stores keep keys of 64 plain characters.
        digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return await self._gatekeeper.admit(
            subject, asks, idempotency_key=digest, fingerprint=f"{meter}:{units}"
        )


def whole_units(units: int, least: int = 1) -> int:
    """Units that can be counted.

    Raises:
        ValueError: anything but a whole number from `least` to 2**63-1.
    """
    if type(units) is not int or not least <= units <= LARGEST:  # a bool is no count
        raise ValueError(f"units: got {units!r}; give a whole number from {least} to 2**63-1")
    return units
