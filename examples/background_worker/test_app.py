from collections import deque

import anyio
from skene_config import skene
from worker import Job, Queue, make_report, work

from skene.testing import World


def jobs(number: int, customer: str = "ada") -> Queue:
    return Queue(deque(Job(f"{customer}-{one}", customer) for one in range(number)))


async def used() -> int:
    return (await skene.check("ada", "reports")).used


async def test_jobs_beyond_the_limit_wait_until_somebody_pays(world: World) -> None:
    queue = jobs(7)
    await work(queue, make_report)
    assert (len(queue.done), [job.id for job in queue.waiting]) == (5, ["ada-5", "ada-6"])
    await world.drain()
    assert world.sent("ada") == ["upgrade_prompt"]
    checkout = await world.follow("ada")
    assert await checkout.pay()
    queue.paid("ada")
    await work(queue, make_report)
    assert (len(queue.done), queue.waiting) == (7, [])


async def test_a_job_that_comes_twice_pays_once(world: World) -> None:
    queue = Queue(deque([Job("same", "ada"), Job("same", "ada")]))
    await work(queue, make_report)
    assert await used() == 1


async def test_a_job_that_is_tried_again_pays_once(world: World) -> None:
    tried: list[str] = []

    async def fail_at_first(job: Job) -> None:
        tried.append(job.id)
        if len(tried) < 3:
            raise RuntimeError("busy")

    queue = jobs(1)
    await work(queue, fail_at_first)
    assert (tried, queue.done, await used()) == (["ada-0"] * 3, ["ada-0"], 1)


async def test_a_job_that_never_works_is_made_up_for(world: World) -> None:
    async def fail(job: Job) -> None:
        raise RuntimeError("broken")

    queue = jobs(1)
    await work(queue, fail)
    assert queue.dead == ["ada-0"]
    assert (await skene.check("ada", "reports")).remaining == 5  # one was charged, and one granted


async def test_ten_workers_admit_what_one_would(world: World) -> None:
    queue = jobs(40)
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(work, queue, make_report)
    assert (len(queue.done), len(queue.waiting)) == (5, 35)
