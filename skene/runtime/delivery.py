"""Delivery: a message in this worker's hands is seen to its end, sent at most once."""

from datetime import timedelta

import anyio

from skene.definitions import Recovery
from skene.engine.backoff import next_delay
from skene.errors import DeliveryError, DeliveryFailed, DeliveryRefused, DeliveryUnknown, StorageUnavailable
from skene.ports.notifier import Body, Notifier, Profile
from skene.ports.observers import Work, WorkKind
from skene.ports.outbox import Begun, Claimed, Later, MessageState, Never, Outcome, Rules
from skene.runtime.beside import beside
from skene.runtime.channels import channel_of
from skene.runtime.mailing import address_digest, context_of, profile_of, quiet_for
from skene.runtime.parts import Parts
from skene.runtime.reporting import REPORT_RECOVERY
from skene.runtime.telling import prompt_sent
from skene.runtime.watching import watched

__all__ = ["Delivery"]

SEND_TIMEOUT = 15.0
HURRY = 4.0
"""Seconds that a send may still take once the worker is told to stop; another one repeats it, same key."""
_NO_PROFILE = ("grant", "function", "usage", "event")
"""The kinds that say nothing of the person: whoever knows their profile may be away."""
_RECOVERIES = {"usage": REPORT_RECOVERY, "event": Recovery(retries=100, base="5s", cap="30m")}
"""How patiently the kinds are tried again that no loop decides about: hooks are told for about a day."""
PATIENCE = timedelta(seconds=3)
"""The longest wait for a channel's turn with a message in hand: all of it fits into a lease."""


class Delivery:
    """Sees claimed messages to their end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def see_through(self, message: Claimed) -> None:
        """Deal with a message to its end even while the app shuts down: its outcome is then known."""
        limit = anyio.CancelScope()

        async def hurry() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                limit.deadline = min(limit.deadline, anyio.current_time() + HURRY)

        async with beside(hurry):
            with anyio.CancelScope(shield=True):
                await self._deal_with(message, limit)

    async def _deal_with(self, message: Claimed, limit: anyio.CancelScope) -> None:
        notifier: Notifier | None = None
        try:
            notifier = channel_of(self._parts, message.draft)
            draft = message.draft
            work = Work(WorkKind.DELIVERY, draft.loop, draft.step, draft.subject)
            work.channel, work.template = draft.channel or draft.kind, draft.template
            with watched(self._parts, work):
                outcome = await self._attempt(message, notifier, limit)
                work.outcome = _ended(outcome)
        except StorageUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one poisoned message must not stop the others
            text = "message %s of loop %s failed"
            self._parts.log.error(text, message.id, message.draft.loop, error=error)
            outcome = self._failed(message, notifier, DeliveryFailed(f"unexpected {type(error).__name__}"))
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

    async def _attempt(
        self, message: Claimed, notifier: Notifier | None, limit: anyio.CancelScope
    ) -> Outcome | None:
        unwanted = None if message.unsettled else _unwanted(message)
        if unwanted is not None:
            return Outcome(MessageState.CANCELLED, reason=unwanted)
        if notifier is None:
            return Outcome(MessageState.DEAD, reason=_nobody(message))
        if _too_late(message, notifier):
            return Outcome(
                MessageState.PARKED, reason="may have been sent, and the provider no longer remembers"
            )
        user, body = None, message.body
        if (body is None and message.draft.kind not in _NO_PROFILE) or message.draft.marketing:
            user = await profile_of(self._parts, message)
        if body is None:
            user = user or Profile()
            if message.draft.is_mail and not user.email:
                return Outcome(MessageState.SKIPPED, reason="no e-mail address: no profile and no customer")
            try:
                body = notifier.render(context_of(self._parts, message, user))
            except DeliveryRefused as error:
                return Outcome(MessageState.DEAD, reason=str(error), failed=True)
        if anyio.current_time() >= limit.deadline:
            return Outcome(MessageState.PENDING)  # told to stop, and nothing has left the process yet
        return await self._begin(message, notifier, body, user, limit)

    async def _begin(
        self,
        message: Claimed,
        notifier: Notifier,
        body: Body,
        user: Profile | None,
        limit: anyio.CancelScope,
    ) -> Outcome | None:
        """Pass what a message must pass before it leaves, and send it."""
        policy = self._parts.mail
        if message.draft.marketing and user is not None:
            until = quiet_for(policy, user, message.now)
            if until is not None:
                reason = "quiet hours"
                return Outcome(MessageState.PENDING, until - message.now, reason=reason)
        rules = Rules(
            address=_address(body) if message.draft.is_mail else None,
            cap=policy.cap if message.draft.marketing else None,
            pace=notifier.pace,
            patience=PATIENCE,
        )
        match await self._parts.storage.begin_attempt(message, body, rules):
            case None:
                return None  # another worker has it by now
            case Never(reason):
                return Outcome(MessageState.CANCELLED, reason=reason)
            case Later(delay, capped):
                reason = "the person has got as many as the cap allows" if capped else "the channel is busy"
                return Outcome(MessageState.PENDING, delay, reason=reason)
            case Begun(wait):
                return await self._send(message, notifier, body, wait, limit)

    async def _send(
        self,
        message: Claimed,
        notifier: Notifier,
        body: Body,
        wait: timedelta,
        limit: anyio.CancelScope,
    ) -> Outcome:
        sending = False
        try:
            with limit:
                # The wait for the channel's turn is part of it: the lease does not grow with it.
                limit.deadline = min(limit.deadline, anyio.current_time() + SEND_TIMEOUT)
                await anyio.sleep(wait.total_seconds())
                sending = True
                provider_id = await notifier.send(body, idempotency_key=f"skene-{message.draft.key}")
                told = prompt_sent(self._parts, message.draft)
                return Outcome(MessageState.SENT, provider_id=provider_id, drafts=told)
        except DeliveryError as error:
            return self._failed(message, notifier, error)
        except StorageUnavailable as error:
            return self._failed(message, notifier, DeliveryFailed(str(error)))
        except Exception as error:  # noqa: BLE001 - no notifier may raise this, so nobody knows what was sent
            self._parts.log.error("the notifier %r failed", message.draft.channel, error=error)
            return self._failed(message, notifier, DeliveryUnknown(f"unexpected {type(error).__name__}"))
        if not sending:
            return Outcome(MessageState.PENDING)  # told to stop while it waited for its turn
        return self._failed(message, notifier, DeliveryUnknown("no answer in time"))

    def _failed(self, message: Claimed, notifier: Notifier | None, error: DeliveryError) -> Outcome:
        if isinstance(error, DeliveryRefused):
            return Outcome(MessageState.DEAD, failed=True, reason=str(error))
        unknown = isinstance(error, DeliveryUnknown)
        if unknown and (notifier is None or not notifier.remembers_keys):
            return Outcome(MessageState.PARKED, failed=True, reason=str(error))
        retry_after = error.retry_after if isinstance(error, DeliveryFailed) else None
        delay = next_delay(
            _RECOVERIES.get(message.draft.kind) or self._parts.recovery(message.draft.loop),
            message.failures + 1,
            chance=self._parts.clock.chance(),
            retry_after=retry_after,
        )
        hold = retry_after or timedelta(0)
        if delay is not None:
            return Outcome(MessageState.PENDING, delay, failed=True, reason=str(error), hold=hold)
        # No attempt is left. What perhaps arrived is not called dead: a person should look.
        state = MessageState.PARKED if unknown else MessageState.DEAD
        return Outcome(state, failed=True, reason=str(error), hold=hold)


def _ended(outcome: Outcome | None) -> str:
    """How an attempt ended, for those who watch; what failed and is tried again is `failed`."""
    if outcome is None:
        return "lost"
    return "failed" if outcome.failed and outcome.state is MessageState.PENDING else str(outcome.state)


def _unwanted(message: Claimed) -> str | None:
    """Why nobody wants the message any more; None if somebody does."""
    draft = message.draft
    if draft.cancel_on_upgrade and message.current_plan not in (None, draft.plan):
        return f"the subject holds the plan {message.current_plan}"
    # Only words are needless once a journey is over; what else was promised is kept.
    return message.over if draft.is_mail else None


def _nobody(message: Claimed) -> str:
    draft = message.draft
    if draft.kind == "function":
        return f"the step {draft.step} calls no such function any more"
    if draft.kind == "event":
        return f"no hook is called {draft.channel!r}"
    return f"no notifier is called {draft.channel!r}"


def _too_late(message: Claimed, notifier: Notifier) -> bool:
    """Whether an earlier attempt may have arrived and repeating it could arrive twice."""
    first = message.first_attempt_at
    if first is None or (not notifier.remembers_keys and not message.unsettled):
        return False  # without memory of keys, what failed for certain may still be tried again
    return message.now - first >= notifier.remembers_keys


def _address(body: Body) -> str | None:
    to = body.get("to")
    address = to[0] if isinstance(to, list) and to else to
    return address_digest(address) if isinstance(address, str) else None
