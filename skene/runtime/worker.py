"""The recovery worker: takes messages out of the outbox and sees them delivered, each at most once."""

from contextlib import suppress
from datetime import timedelta

import anyio
import anyio.lowlevel

from skene.definitions import Recovery
from skene.engine.backoff import next_delay
from skene.errors import DeliveryError, DeliveryFailed, DeliveryRefused, DeliveryUnknown, StorageUnavailable
from skene.ports.notifier import Body, MessageContext, Notifier, Profile
from skene.ports.outbox import Claimed, Later, MessageState, Never, Outcome
from skene.runtime.parts import Parts

__all__ = ["Worker"]

LEASE = timedelta(seconds=30)
SEND_TIMEOUT = 15.0
BATCH = 10
FRESH = 8.0
"""Seconds after a claim in which a send may begin; the rest of the batch goes back. Even with the slowest
profile, storage and provider it then ends before the lease does."""
PROFILE_TIMEOUT = 5.0
HURRY = 4.0
"""Seconds that a send may still take once the worker is told to stop; another one repeats it, same key."""
POLL = 2.0
"""Seconds between looks into the outbox when nobody wakes the worker: messages written by other processes."""
PRUNE_EVERY = timedelta(hours=1)


class Worker:
    """Delivers what is due. Any number of workers, in any number of processes, share one outbox."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._wake: anyio.Event | None = None

    def wake(self) -> None:
        """Something was put into the outbox by this process."""
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled. The message in hand is finished first, what is only claimed goes back."""
        self._wake = anyio.Event()
        pruned = self._parts.clock.now() - PRUNE_EVERY
        try:
            while True:
                try:
                    sent = 0 if self._parts.paused else await self.work_once()
                    if self._parts.clock.now() - pruned >= PRUNE_EVERY:
                        pruned = self._parts.clock.now()
                        await self._parts.storage.prune()
                except StorageUnavailable as error:
                    self._parts.log.warning("outbox cannot be read, trying again: %s", error)
                    sent = 0
                except Exception as error:  # noqa: BLE001 - whatever it was, it must not end all delivery
                    self._parts.log.error("the recovery worker stumbled, going on", error=error)
                    sent = 0
                if not sent:
                    with anyio.move_on_after(POLL):
                        await self._wake.wait()
                    self._wake = anyio.Event()
        finally:
            self._wake = None

    async def drain(self) -> int:
        """Work until nothing is due. Returns how many messages were dealt with."""
        total = 0
        while done := await self.work_once():
            total += done
        return total

    async def work_once(self) -> int:
        """Claim some messages that are due and deal with each. Returns how many."""
        claimed: tuple[Claimed, ...] = ()
        with anyio.CancelScope(shield=True):  # a claim that nobody hears of would only end with its lease
            claimed = await self._parts.storage.claim(BATCH, LEASE)
        waiting, stale = list(claimed), anyio.current_time() + FRESH
        try:
            while waiting and anyio.current_time() < stale:
                await anyio.lowlevel.checkpoint()
                await self._see_through(waiting.pop(0))
        finally:
            with anyio.move_on_after(2, shield=True), suppress(StorageUnavailable):
                for rest in waiting:
                    await self._parts.storage.settle(rest, Outcome(MessageState.PENDING))
        return len(claimed) - len(waiting)

    async def _see_through(self, message: Claimed) -> None:
        """Deal with a message to its end even while the app shuts down: its outcome is then known."""
        limit = anyio.CancelScope()
        failure: Exception | None = None

        async def hurry() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                limit.deadline = min(limit.deadline, anyio.current_time() + HURRY)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hurry)
            with anyio.CancelScope(shield=True):
                try:
                    await self._deal_with(message, limit)
                except Exception as error:  # noqa: BLE001 - raised below, where no group wraps it
                    failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _deal_with(self, message: Claimed, limit: anyio.CancelScope) -> None:
        try:
            outcome = await self._attempt(message, limit)
        except StorageUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one poisoned message must not stop the others
            text = "message %s of loop %s failed"
            self._parts.log.error(text, message.id, message.draft.loop, error=error)
            outcome = self._failed(message, DeliveryFailed(f"unexpected {type(error).__name__}"))
        if outcome is None:
            return
        if outcome.state in (MessageState.DEAD, MessageState.PARKED):
            self._parts.log.warning(
                "message %s of loop %s is %s: %s",
                message.id,
                message.draft.loop,
                outcome.state,
                outcome.reason,
            )
        await self._parts.storage.settle(message, outcome)

    async def _attempt(self, message: Claimed, limit: anyio.CancelScope) -> Outcome | None:
        draft = message.draft
        if (
            draft.cancel_on_upgrade
            and not message.unsettled
            and message.current_plan not in (None, draft.plan)
        ):
            return Outcome(
                MessageState.CANCELLED, reason=f"the subject holds the plan {message.current_plan}"
            )
        notifier = self._parts.notifiers.get(draft.channel)
        if notifier is None:
            return Outcome(MessageState.DEAD, reason=f"no notifier is called {draft.channel!r}")
        if self._too_late(message, notifier):
            return Outcome(
                MessageState.PARKED, reason="may have been sent, and the provider no longer remembers"
            )
        body = message.body
        if body is None:
            context = await self._context(message)
            if context is None:
                return Outcome(MessageState.SKIPPED, reason="no e-mail address: no profile and no customer")
            try:
                body = notifier.render(context)
            except DeliveryRefused as error:
                return Outcome(MessageState.DEAD, reason=str(error), failed=True)
        if anyio.current_time() >= limit.deadline:
            return Outcome(MessageState.PENDING)  # told to stop, and nothing has left the process yet
        return await self._begin(message, notifier, body, limit)

    async def _begin(
        self, message: Claimed, notifier: Notifier, body: Body, limit: anyio.CancelScope
    ) -> Outcome | None:
        attempt = await self._parts.storage.begin_attempt(message, body)
        if isinstance(attempt, Later):
            return Outcome(MessageState.PENDING, attempt.delay, reason="has to wait for its turn")
        if isinstance(attempt, Never):
            return Outcome(MessageState.CANCELLED, reason=attempt.reason)
        if attempt is None:
            return None  # another worker has it by now
        if attempt.wait:
            await anyio.sleep(attempt.wait.total_seconds())
        return await self._send(message, notifier, body, limit)

    async def _send(
        self, message: Claimed, notifier: Notifier, body: Body, limit: anyio.CancelScope
    ) -> Outcome:
        limit.deadline = min(limit.deadline, anyio.current_time() + SEND_TIMEOUT)
        try:
            with limit:
                provider_id = await notifier.send(body, idempotency_key=f"skene-{message.draft.key}")
                return Outcome(MessageState.SENT, provider_id=provider_id)
        except DeliveryError as error:
            return self._failed(message, error)
        except Exception as error:  # noqa: BLE001 - no notifier may raise this, so nobody knows what was sent
            self._parts.log.error("the notifier %r failed", message.draft.channel, error=error)
            return self._failed(message, DeliveryUnknown(f"unexpected {type(error).__name__}"))
        return self._failed(message, DeliveryUnknown("no answer in time"))

    def _too_late(self, message: Claimed, notifier: Notifier) -> bool:
        """Whether an earlier attempt may have arrived and repeating it could arrive twice."""
        first = message.first_attempt_at
        if first is None or (not notifier.remembers_keys and not message.unsettled):
            return False  # without memory of keys, what failed for certain may still be tried again
        return message.now - first >= notifier.remembers_keys

    def _failed(self, message: Claimed, error: DeliveryError) -> Outcome:
        if isinstance(error, DeliveryRefused):
            return Outcome(MessageState.DEAD, failed=True, reason=str(error))
        notifier = self._parts.notifiers.get(message.draft.channel)
        unknown = isinstance(error, DeliveryUnknown)
        if unknown and (notifier is None or not notifier.remembers_keys):
            return Outcome(MessageState.PARKED, failed=True, reason=str(error))
        delay = next_delay(
            self._recovery(message),
            message.failures + 1,
            chance=self._parts.clock.chance(),
            retry_after=error.retry_after if isinstance(error, DeliveryFailed) else None,
        )
        if delay is not None:
            return Outcome(MessageState.PENDING, delay, failed=True, reason=str(error))
        # No attempt is left. What perhaps arrived is not called dead: a person should look.
        return Outcome(MessageState.PARKED if unknown else MessageState.DEAD, failed=True, reason=str(error))

    def _recovery(self, message: Claimed) -> Recovery:
        return self._parts.program.recoveries.get(message.draft.loop) or Recovery()

    async def _context(self, message: Claimed) -> MessageContext | None:
        profile = None
        if self._parts.profile is not None:
            with anyio.fail_after(PROFILE_TIMEOUT):
                profile = await self._parts.profile(message.draft.subject)
        if profile is None or not profile.email:
            if not message.email:
                return None
            profile = (profile or Profile()).model_copy(update={"email": message.email})
        data = message.draft.data
        return MessageContext.model_validate(
            {
                "template": message.draft.template,
                "subject_line": data.get("subject_line"),
                "user": profile,
                "data": data.get("values", {}),
                "personalization": data.get("personalization", {}),
            }
        )
