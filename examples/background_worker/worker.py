"""A worker without HTTP: each job asks before it begins, and the job's id is the key under which it pays.

So a job that is delivered twice, or tried again after a crash, pays once. One that is refused waits, and is
put back into the queue when its customer has paid. `python worker.py` works until the queue is empty.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
from skene_config import skene

ATTEMPTS = 3


@dataclass
class Job:
    id: str
    customer: str
    attempts: int = 0


@dataclass
class Queue:
    """Stands in for your task queue."""

    ready: deque[Job] = field(default_factory=deque)
    waiting: list[Job] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)

    def paid(self, customer: str) -> None:
        """Let the jobs of a customer go on; call it from a hook on `plan.changed`."""
        self.ready += [job for job in self.waiting if job.customer == customer]
        self.waiting = [job for job in self.waiting if job.customer != customer]


async def work(queue: Queue, make: Callable[[Job], Awaitable[None]]) -> None:
    while queue.ready:
        await deal_with(queue.ready.popleft(), queue, make)


async def deal_with(job: Job, queue: Queue, make: Callable[[Job], Awaitable[None]]) -> None:
    decision = await skene.consume(job.customer, "reports", idempotency_key=job.id)
    if not decision.allowed:  # never `if decision:`, which raises
        queue.waiting.append(job)
        return
    try:
        await make(job)
    except Exception:  # noqa: BLE001 - whatever a job raises, the next one goes on
        job.attempts += 1
        if job.attempts < ATTEMPTS:
            queue.ready.append(job)  # again for free, under the same key
        else:
            queue.dead.append(job.id)
            await skene.grant(job.customer, "reports", 1, key=f"failed:{job.id}", reason="a report failed")
        return
    queue.done.append(job.id)


async def make_report(job: Job) -> None:
    await anyio.lowlevel.checkpoint()


async def main() -> None:
    async with skene:  # outside HTTP there is no lifespan: this opens the back-ends and closes them
        await work(Queue(deque([Job("job-1", "ada")])), make_report)


if __name__ == "__main__":
    anyio.run(main)
