"""What many requests want at the same moment is done once."""

import anyio
import anyio.lowlevel
import pytest

from skene.runtime.single import SingleFlight


async def test_many_share_one_piece_of_work():
    single, done, results = SingleFlight(), [], []

    async def work() -> int:
        await anyio.sleep(0.01)
        done.append(1)
        return len(done)

    async def ask() -> None:
        results.append(await single.share("key", work))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask)
    assert (len(done), set(results)) == (1, {1})
    await ask()
    assert results[-1] == 2, "later is another time"


async def test_keys_are_kept_apart():
    single, done = SingleFlight(), []

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        done.append(1)

    async with anyio.create_task_group() as tasks:
        for key in range(5):
            tasks.start_soon(single.share, key, work)
    assert len(done) == 5


async def test_a_failure_is_everybody_s_and_forgotten_afterwards():
    single, failures, tries = SingleFlight(), [], []

    async def work() -> str:
        tries.append(1)
        await anyio.sleep(0.01)
        if len(tries) == 1:
            raise OSError("away")
        return "there"

    async def ask() -> None:
        with pytest.raises(OSError, match="away"):
            await single.share("key", work)
        failures.append(1)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
    assert (len(tries), len(failures)) == (1, 3)
    assert await single.share("key", work) == "there"


async def test_work_is_seen_through_though_its_first_asker_is_cancelled():
    single, done, results = SingleFlight(), [], []
    begun = anyio.Event()

    async def work() -> int:
        begun.set()
        await anyio.sleep(0.02)
        done.append(1)
        return 7

    async def impatient() -> None:
        with anyio.move_on_after(0.001):
            await single.share("key", work)

    async def patient() -> None:
        await begun.wait()
        results.append(await single.share("key", work))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(impatient)
        tasks.start_soon(patient)
    assert (len(done), results) == (1, [7])


async def test_who_waited_for_work_that_was_torn_down_does_it_again():
    """A server that gives up its tasks may tear through a shield; nobody may take nothing for the answer."""
    single, tries, results = SingleFlight(), [], []

    class TornDown(BaseException):
        pass

    async def work() -> int:
        tries.append(1)
        await anyio.lowlevel.checkpoint()
        if len(tries) == 1:
            raise TornDown
        return 7

    async def ask() -> None:
        try:
            results.append(await single.share("key", work))
        except TornDown:
            results.append(None)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(ask)
    assert len(tries) == 2
    assert sorted(results, key=str) == [7, 7, 7, None]


async def test_nobody_waits_longer_for_somebody_elses_work_than_they_can():
    single, begun = SingleFlight(), anyio.Event()

    async def work() -> int:
        begun.set()
        await anyio.sleep(0.3)
        return 7

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(single.share, "key", work)
        await begun.wait()
        with anyio.fail_after(0.2), pytest.raises(TimeoutError):
            await single.share("key", work, within=0.02)
        assert await single.share("key", work, within=1) == 7
