"""Asking the loops: may this subject do this now?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from time import monotonic

import anyio

from skene.engine.decide import (
    crossed,
    decide,
    notice_name,
    shadow_name,
    tightest,
    unavailable,
)
from skene.engine.decision import Decision, Reason
from skene.engine.effects import message_data
from skene.engine.keys import unique_key
from skene.engine.light import light
from skene.engine.program import CompiledStep
from skene.engine.spent import Spent
from skene.errors import StorageUnavailable
from skene.ports.counters import Consume, Counted, Draft, Notice, Receipt, Tally
from skene.ports.observers import Work, WorkKind
from skene.runtime.asks import Ask, call_of, stored
from skene.runtime.held import count_held, peek_held, take_held
from skene.runtime.leases import Leases
from skene.runtime.lookup import LookUps
from skene.runtime.parts import Parts
from skene.runtime.refusing import has_wall, is_held_out, proposed_wall
from skene.runtime.single import SingleFlight
from skene.runtime.spending import Plain, PlainSteps
from skene.runtime.watching import watched

__all__ = ["Admission", "Gatekeeper"]

REFUND_TIMEOUT = 2.0
ANSWERED = 2.0
"""Seconds in which a call is answered, with all that has to be recorded for the answer."""
LEAST = 0.2
"""Of these, what is left for the record of a refusal, however long the count took."""


@light
@dataclass(frozen=True, slots=True)
class Admission:
    """A decision, and what it takes to undo it.

    Attributes:
        decision: the one to report.
        receipts: units to give back if the call fails; empty after a refusal.
        subject: the storable id.
        idempotency_key: the key the call was admitted under.
    """

    decision: Decision
    subject: str
    receipts: tuple[Receipt, ...] = ()
    idempotency_key: str | None = None


class Gatekeeper:
    """Counts and decides.

    One round trip for an admitted call; a refusal writes only the first time in a window.

    Attributes:
        plain: what is prepared for steps whose calls may be plain.
    """

    def __init__(self, parts: Parts, lookups: LookUps, leases: Leases) -> None:
        self._parts = parts
        self._lookups = lookups
        self._counters = leases  # between the gate and the storage's counters
        self._single = SingleFlight()
        self.plain = PlainSteps(parts)

    async def admit(
        self,
        subject: str,
        asks: Sequence[Ask],
        *,
        idempotency_key: str | None = None,
        fingerprint: str = "",
    ) -> Admission:
        """Charge a call and decide.

        Args:
            subject: as the app names it.
            asks: every step involved; all admit or none is charged.
            idempotency_key, fingerprint: see `ports.counters.Consume`.

        Raises:
            SubjectInvalid: the id is empty or not a string.
            IdempotencyConflict: the key stands for another call.
            StorageUnavailable: the storage is away, and the app does not let calls through then.
        """
        if not self._parts.observers:
            return await self._admit(subject, asks, idempotency_key, fingerprint)
        step = asks[0].step
        with watched(self._parts, Work(WorkKind.DECISION, step.loop, step.key, subject, step.meter)) as work:
            admission = await self._admit(subject, asks, idempotency_key, fingerprint)
            work.decided(admission.decision)
            return admission

    async def _admit(
        self, subject: str, asks: Sequence[Ask], idempotency_key: str | None, fingerprint: str
    ) -> Admission:
        deadline = monotonic() + ANSWERED
        call = call_of(self._parts, subject, asks, idempotency_key, fingerprint)
        try:
            counted = await self._count(call, asks)
            return await self._decided(subject, asks, call, counted, deadline)
        except StorageUnavailable as error:
            return self._uncounted(subject, asks[0], call, error)

    async def spend(self, plain: Plain, subject: str, cost: int) -> Spent | Admission:
        """As `admit`, the short way for a plain call: how the counter stands, where that says all of it.

        Raises:
            SubjectInvalid, StorageUnavailable: as `admit`.
        """
        deadline, call = monotonic() + ANSWERED, plain.call(stored(subject), cost)
        try:
            counted = await self._counters.consume(call)
            spent = plain.spent(subject, counted)
            if spent is not None:
                return spent
            return await self._decided(subject, (Ask(plain.step, cost),), call, counted, deadline)
        except StorageUnavailable as error:
            return self._uncounted(subject, Ask(plain.step, cost), call, error)

    async def _decided(
        self, subject: str, asks: Sequence[Ask], call: Consume, counted: Counted, deadline: float
    ) -> Admission:
        """From the first count to the answer: who has paid meanwhile is counted once more."""
        if not counted.admitted and await self._lookups.learned_of_payment(counted):
            counted = await self._count(call, asks)
        return await self._conclude(subject, asks, call.idempotency_key, counted, deadline)

    def _uncounted(self, subject: str, ask: Ask, call: Consume, error: StorageUnavailable) -> Admission:
        """Let a call through that could not be counted, if the app says so."""
        parts = self._parts
        if parts.on_storage_error != "allow":
            raise error
        parts.log.warning("storage unavailable: %s let through uncounted", ask.step.key)
        return Admission(unavailable(ask.step, subject, parts.default_plan, ask.cost), call.subject)

    async def warn(self, plain: Plain, subject: str, cost: int, spent: Spent) -> Admission:
        """Record the warnings that a plain call has made due; gives its units back if it is cut off."""
        counted, deadline = plain.counted(subject, cost, spent), monotonic() + ANSWERED
        return await self._conclude(subject, (Ask(plain.step, cost),), None, counted, deadline)

    async def _conclude(
        self, subject: str, asks: Sequence[Ask], key: str | None, counted: Counted, deadline: float
    ) -> Admission:
        """From the count to the answer, recording the warnings or the wall that follow from it."""
        if counted.held_plan is not None:
            text = "a subject holds the plan %r, which no limit table knows: default applied"
            self._parts.log.warning(text, counted.held_plan)
        decisions = self._decisions(subject, asks, counted)
        index = tightest(decisions)
        keep = {ask.step.meter for ask in asks if ask.step.charge == "attempt"}
        receipts = tuple(t.receipt for t in counted.tallies if t.receipt and t.charge.meter not in keep)
        subject = counted.subject  # from here on whom an anonymous one was merged into
        admission = Admission(decisions[index], subject, receipts, key)
        try:
            if counted.admitted and not counted.replayed:
                await self._notice(asks, subject, decisions, counted, deadline)
            if admission.decision.allowed:
                return admission
            refused = await self._refused(asks[index].step, subject, decisions[index], counted, deadline)
            return replace(admission, decision=refused)
        except BaseException:
            # Charged, and now cancelled or cut off: the call will not run, so it costs nothing.
            await self.release(admission)
            raise

    async def look(self, subject: str, asks: Sequence[Ask]) -> tuple[Decision, ...]:
        """What would be decided now, one decision per step; nothing is charged or recorded.

        A refusal names its wall if that stands already.
        """
        decided: dict[Ask, Decision] = {}
        flows = [ask for ask in asks if not ask.step.held]
        if flows:
            call = call_of(self._parts, subject, flows, None, "")
            decided |= self._looked(subject, flows, await self._counters.peek(call))
        for ask in asks:
            if ask.step.held:
                call = call_of(self._parts, subject, (ask,), None, "")
                decided |= self._looked(subject, (ask,), await peek_held(self._counters, call))
        return tuple(decided[ask] for ask in asks)

    def _looked(self, subject: str, asks: Sequence[Ask], counted: Counted) -> Iterator[tuple[Ask, Decision]]:
        """Each with what would be decided, and with the wall that stands."""
        for ask, decision in zip(asks, self._decisions(subject, asks, counted, looked=True), strict=True):
            wall = _tally(counted, ask.step).wall if has_wall(decision) else None
            yield ask, decision if wall is None else replace(decision, wall=wall)

    async def take(self, subject: str, ask: Ask) -> None:
        """Charge a gauge, over its limit if need be."""
        await take_held(self._counters, call_of(self._parts, subject, (ask,), None, ""))

    async def _count(self, call: Consume, asks: Sequence[Ask]) -> Counted:
        only = asks[0].step if len(asks) == 1 else None
        if only is not None and only.held:
            return await count_held(self._counters, call)
        return await self._counters.consume(call, only)

    async def release(self, admission: Admission, cost: int | None = None) -> None:
        """Give back what a call took, because it failed; finishes even while the caller is being cancelled.

        Args:
            cost: only this many units; all of them if None.
        """
        receipts = admission.receipts
        if cost is not None:
            receipts = tuple(replace(receipt, cost=cost) for receipt in receipts)
        if not receipts:
            return
        key = admission.idempotency_key if cost is None else None
        work = Work(WorkKind.GIVE_BACK, "", "", admission.subject)
        work.decided(admission.decision)
        work.units, work.outcome = receipts[0].cost, "done"
        with watched(self._parts, work), anyio.move_on_after(REFUND_TIMEOUT, shield=True) as scope:
            work.outcome = "storage_unavailable"  # until it has answered, and in time
            try:
                await self._counters.refund(admission.subject, receipts, key)
                work.outcome = "done"
            except StorageUnavailable:
                self._parts.log.warning("storage unavailable: units of a failed call stay charged")
        if scope.cancelled_caught:
            self._parts.log.warning("storage too slow: units of a failed call may stay charged")

    def _decisions(
        self, subject: str, asks: Sequence[Ask], counted: Counted, *, looked: bool = False
    ) -> tuple[Decision, ...]:
        tallies = {tally.charge.meter: tally for tally in counted.tallies}
        return tuple(
            decide(
                ask.step,
                subject=subject,
                plan=counted.plan,
                limit=tallies[ask.step.meter].limit,
                granted=tallies[ask.step.meter].granted,
                used=tallies[ask.step.meter].used,
                cost=tallies[ask.step.meter].charge.cost,
                start=tallies[ask.step.meter].start,
                end=tallies[ask.step.meter].end,
                fits=tallies[ask.step.meter].fits,
                admitted=counted.admitted,
                replayed=counted.replayed,
                now=counted.now,
                ahead=tallies[ask.step.meter].charge.cost if looked else 0,
            )
            for ask in asks
        )

    async def _refused(
        self, step: CompiledStep, subject: str, decision: Decision, counted: Counted, deadline: float
    ) -> Decision:
        if decision.reason is Reason.MEMBER_LIMIT_REACHED:
            return decision  # paying more helps nobody: the team has units left
        if decision.reason is Reason.CAP_REACHED:
            # Whoever set the cap did so for their own sake: no wall, and nobody is asked to upgrade.
            return replace(decision, upgrade_url=self._parts.links.upgrade(subject=subject))
        tally = _tally(counted, step)
        wall = tally.wall
        if wall is None:
            key = "wall", step.key, subject, decision.plan
            work = partial(self._open_wall, step, subject, decision, tally, deadline, shadow=False)
            try:
                wall = await self._single.share(key, work, within=_left(deadline))
            except TimeoutError:
                raise StorageUnavailable("a refusal was not recorded in time") from None
        return replace(decision, wall=wall, upgrade_url=self._parts.links.upgrade(wall=wall))

    async def _open_wall(
        self,
        step: CompiledStep,
        subject: str,
        decision: Decision,
        tally: Tally,
        deadline: float,
        *,
        shadow: bool,
    ) -> str:
        parts = self._parts
        wall, drafts = proposed_wall(parts, step, subject, decision, tally, shadow=shadow)
        opened = await parts.storage.open_wall(wall, drafts, within=timedelta(seconds=_left(deadline)))
        if opened == wall.id and drafts:
            parts.wake()
        return opened

    async def _notice(
        self,
        asks: Sequence[Ask],
        subject: str,
        decisions: Sequence[Decision],
        counted: Counted,
        deadline: float,
    ) -> None:
        """Record what an admitted call has made due. If that fails, the next call makes it due again."""
        for ask, decision in zip(asks, decisions, strict=True):
            if ask.step.member is not None:
                continue
            tally = _tally(counted, ask.step)
            try:
                if decision.reason is Reason.SHADOW:
                    await self._watch(ask.step, subject, decision, tally, deadline)
                elif ask.step.enforce and not is_held_out(ask.step, subject):
                    await self._warn(ask.step, subject, decision, tally)
            except StorageUnavailable:
                self._parts.log.warning(
                    "storage unavailable: a warning or shadow wall waits for the next call"
                )

    async def _watch(
        self, step: CompiledStep, subject: str, decision: Decision, tally: Tally, deadline: float
    ) -> None:
        """Record the wall of a loop that only watches, once per window."""
        name = shadow_name(step)
        if decision.plan in step.billed:
            return  # a cap opens no walls, see `_refused`

        async def record() -> bool:
            await self._open_wall(step, subject, decision, tally, deadline, shadow=True)
            plan = step.counted_as(decision.plan)
            notice = Notice(subject, step.meter, plan, tally.start, (name,), ())
            return await self._counters.record_notice(notice)

        if name not in tally.notices:
            await self._single.share((name, subject, step.meter, decision.plan), record)

    async def _warn(self, step: CompiledStep, subject: str, decision: Decision, tally: Tally) -> None:
        """Record the warnings that a call has made due."""
        due = crossed(step, decision.plan, decision.limit, decision.used, tally.notices)
        if not due:
            return
        mails = dict(step.warnings)
        # Several thresholds crossed at once are one mail: the highest.
        fraction, mail = due[-1], mails[due[-1]]
        url = self._parts.links.upgrade(subject=subject)
        draft = Draft(
            key=unique_key(
                "usage_warning",
                step.key,
                step.meter,
                subject,
                decision.plan,
                tally.start.isoformat(),
                f"{fraction:g}",
            ),
            kind="usage_warning",
            loop=step.loop,
            step=step.key,
            subject=subject,
            plan=decision.plan,
            channel=self._parts.channel(mail),
            template=mail.template,
            data=message_data(decision, step.message, mail, upgrade_url=url),
        )
        names = tuple(notice_name(step, decision.plan, f) for f in due)
        plan = step.counted_as(decision.plan)
        notice = Notice(subject, step.meter, plan, tally.start, names, (draft,))
        if await self._single.share(draft.key, lambda: self._counters.record_notice(notice)):
            self._parts.wake()


def _left(deadline: float) -> float:
    """Seconds until a deadline."""
    return max(LEAST, deadline - monotonic())


def _tally(counted: Counted, step: CompiledStep) -> Tally:
    return next(tally for tally in counted.tallies if tally.charge.meter == step.meter)
