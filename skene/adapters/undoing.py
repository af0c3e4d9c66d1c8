"""What is done for a caller who was cancelled meanwhile, and so never learns of it."""

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from skene.ports.counters import Consume, Counted, Counters

__all__ = ["unless_cancelled"]


async def unless_cancelled(counters: Counters, call: Consume, counted: Counted) -> Counted:
    """Hand an answer on, or give back what it has charged if its caller was cancelled.

    Args:
        counters: where it was charged.
        call: what was asked.
        counted: the answer.
    """
    if counted.admitted and not counted.replayed:
        try:
            await checkpoint_if_cancelled()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await counters.refund(call.subject, counted.receipts, call.idempotency_key)
            raise
    return counted
