"""Gauges: units that are held until they are released, counted whatever the plan."""

from skene.engine.decision import Decision
from skene.engine.program import ALL_PLANS, CompiledStep
from skene.engine.window import EPOCH
from skene.errors import MeterUnknown
from skene.ports.counters import Receipt
from skene.runtime.asks import Ask, stored
from skene.runtime.counting import whole_units
from skene.runtime.gate import Gatekeeper
from skene.runtime.parts import Parts

__all__ = ["HoldingVerbs"]


class HoldingVerbs:
    """`release` and `recount`."""

    _parts: Parts
    _gatekeeper: Gatekeeper

    async def release(self, subject: str, meter: str, units: int = 1) -> Decision:
        """Give back units of a gauge, such as the seat of somebody who leaves. Never below zero.

        Every call releases: make it where you make sure that nobody leaves twice, and see `recount`.

        Args:
            subject: who holds them.
            meter: a `condition.gauge(…)`'s.
            units: 1 or more.

        Returns:
            How the gauge stands afterwards.

        Raises:
            MeterUnknown: no gauge has this name.
            StorageUnavailable: nothing is known to be released.
            ValueError: units that cannot be counted.
        """
        step = self._gauge(meter)
        await self._give_back(subject, meter, whole_units(units))
        return await self._stands(subject, step)

    async def recount(self, subject: str, meter: str, units: int) -> Decision:
        """Set a gauge to what is true, by your own tables: at the start, at night, after a restore.

        What others take or release meanwhile is kept. It may go over the limit, and refuses nobody then but
        who wants more.

        Args:
            subject: who holds them.
            meter: a `condition.gauge(…)`'s.
            units: 0 or more.

        Returns:
            How the gauge stands afterwards.

        Raises:
            MeterUnknown, StorageUnavailable, ValueError: as `release`.
        """
        step = self._gauge(meter)
        more = whole_units(units, least=0) - (await self._stands(subject, step)).used
        if more > 0:
            await self._gatekeeper.take(subject, Ask(step, more))
        elif more < 0:
            await self._give_back(subject, meter, -more)
        return await self._stands(subject, step)

    def _gauge(self, meter: str) -> CompiledStep:
        gauges = [step for step in self._parts.program.steps if step.held]
        for step in gauges:
            if step.meter == meter:
                return step
        known = ", ".join(dict.fromkeys(step.meter for step in gauges)) or "none"
        raise MeterUnknown(f"no condition.gauge(…) is called {meter!r}; there are: {known}")

    async def _give_back(self, subject: str, meter: str, units: int) -> None:
        # A gauge's one window begins with the epoch, so no receipt has to be kept.
        receipt = Receipt(meter, ALL_PLANS, EPOCH, units)
        await self._parts.storage.refund(stored(subject), (receipt,))

    async def _stands(self, subject: str, step: CompiledStep) -> Decision:
        (decision,) = await self._gatekeeper.look(subject, (Ask(step, 1),))
        return decision
