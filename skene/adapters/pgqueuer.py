"""skene's work done by the workers of pgqueuer, for teams that run it already or need many machines.

What is to be done stays in skene's own tables: a job of pgqueuer carries nothing but "look what is due". So
it does not matter which worker takes it, how often it comes, or whether its worker is killed: what that one
had claimed is claimed again by another when its lease ends.
"""

import logging
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import anyio

from skene.definitions.faults import Fault, describe
from skene.errors import ConfigurationError, SkeneError
from skene.ports.retention import PRUNED_AT_ONCE

if TYPE_CHECKING:
    import asyncpg
    from pgqueuer import Job, PgQueuer
    from pgqueuer.models import Schedule
    from pgqueuer.ports import RepositoryPort

__all__ = ["PgQueuerRunner"]

_EVERY = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)
_PRUNE_EVERY = timedelta(hours=1)


class _Worker(Protocol):
    async def work_once(self) -> int: ...


class _Storage(Protocol):
    async def prune(self) -> int: ...


class _Clock(Protocol):
    def now(self) -> datetime: ...


class _Skene(Protocol):
    """What is used of `skene.Skene`."""

    @property
    def worker(self) -> _Worker: ...

    @property
    def storage(self) -> _Storage: ...

    @property
    def clock(self) -> _Clock: ...

    async def start(self) -> None: ...


class PgQueuerRunner:
    """Lets the workers of a `PgQueuer` do what skene's own worker would.

    `install` puts one entrypoint and one schedule on them. Give the app `Skene(…, worker=False)`.

    Args:
        skene: the loops and their back-ends, made with `worker=False`.
        every: how often to look for what is due: 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60 seconds.
        parallel: how many jobs may be queued and at work at once, on all machines together; from 1 to 100.
        at_most: how long one job goes on while there is something due; from 1 s to 1 h.
        name: of the entrypoint and of the schedule.

    Raises:
        ConfigurationError: pgqueuer is not installed, or a setting cannot work.
    """

    def __init__(
        self,
        skene: _Skene,
        *,
        every: timedelta = timedelta(seconds=2),
        parallel: int = 4,
        at_most: timedelta = timedelta(seconds=20),
        name: str = "skene",
    ) -> None:
        if find_spec("pgqueuer") is None:
            raise ConfigurationError('PgQueuerRunner needs pgqueuer: pip install "skene-sdk[pgqueuer]"')
        faults = _faults(every, parallel, at_most, name)
        if faults:
            raise ConfigurationError(faults)
        self._skene = skene
        self._every = int(every.total_seconds())
        self._parallel = parallel
        self._at_most = at_most.total_seconds()
        self._name = name
        self._queues: PgQueuer | None = None
        self._started, self._failing = False, False
        self._pruned: datetime | None = None
        self._log = logging.getLogger("skene")

    def __repr__(self) -> str:
        return f"PgQueuerRunner(name={self._name!r}, every={self._every}s, parallel={self._parallel})"

    def install(self, queues: "PgQueuer") -> None:
        """Register skene's entrypoint and schedule. Call it where you register your own.

        Raises:
            RuntimeError: the names are taken: it was called twice, or `name` is one of yours.
        """

        async def work(job: "Job") -> None:
            await self._work(queues)

        async def tick(schedule: "Schedule") -> None:
            await self._put(_queries(queues))

        queues.entrypoint(self._name, accepts_context=False)(work)
        # Seconds are croniter's sixth field; `clean_old` drops the schedule of another `every`.
        expression = "* * * * *" if self._every == 60 else f"* * * * * */{self._every}"
        queues.schedule(self._name, expression, clean_old=True, accepts_context=False)(tick)
        self._queues = queues

    async def wake(self) -> bool:
        """Let a worker look at once, through the `PgQueuer` that was installed on.

        Returns:
            False when as many jobs as `parallel` allows are waiting or at work already.

        Raises:
            RuntimeError: nothing was installed. In another process there is `enqueue`.
        """
        if self._queues is None:
            raise RuntimeError("install(…) comes first; in another process use enqueue(connection)")
        return await self._put(_queries(self._queues))

    async def enqueue(self, connection: "asyncpg.Connection | asyncpg.Pool | RepositoryPort") -> bool:
        """Let a worker look at once, from any process.

        Call it after your own commit: inside a transaction the job would be seen only at its end, and another
        `enqueue` could have to wait for it until then.

        Args:
            connection: of asyncpg, or a pool; or pgqueuer's own `Queries`, over whatever driver.

        Returns:
            As `wake`.
        """
        import asyncpg
        from pgqueuer import Queries

        if isinstance(connection, asyncpg.Pool):
            return await self._put(Queries.from_asyncpg_pool(connection))
        if isinstance(connection, asyncpg.Connection):
            return await self._put(Queries.from_asyncpg_connection(connection))
        return await self._put(connection)

    async def _put(self, queries: "RepositoryPort") -> bool:
        """Queue one job under the first key that is free.

        A key is taken while its job waits or runs. So a job is never queued in vain while another one waits,
        and one that is at work, or was killed at it, keeps nobody from looking.
        """
        for place in range(self._parallel):
            (queued,) = await queries.enqueue(
                self._name, None, dedupe_key=f"{self._name}:{place}", on_conflict="skip"
            )
            if queued is not None:
                return True
        return False

    async def _work(self, queues: "PgQueuer") -> None:
        """Do what is due. Whatever goes wrong, the next tick tries again; the worker is pgqueuer's."""
        try:
            await self._look(queues)
        except Exception as error:  # noqa: BLE001 - it must not fill pgqueuer's log with a failed job per tick
            known = isinstance(error, SkeneError)
            said = str(error) if known else type(error).__name__
            level = logging.DEBUG if self._failing else logging.ERROR  # once, and not at every tick
            self._log.log(level, "work under pgqueuer failed: %s", said, exc_info=None if known else error)
            self._failing = True
        else:
            self._failing = False

    async def _look(self, queues: "PgQueuer") -> None:
        if not self._started:
            await self._skene.start()
            self._started = True
        helped, until = False, anyio.current_time() + self._at_most
        while anyio.current_time() < until and not queues.shutdown.is_set():
            if not await self._skene.worker.work_once():
                break
            if not helped:
                helped = True
                await self._put(
                    _queries(queues)
                )  # there may be more of it: another worker, or another machine, helps
        await self._prune()

    async def _prune(self) -> None:
        now = self._skene.clock.now()
        if self._pruned is None or now - self._pruned >= _PRUNE_EVERY:
            self._pruned = now
            if await self._skene.storage.prune() >= PRUNED_AT_ONCE:
                self._pruned = None  # there is more of it


def _queries(queues: "PgQueuer") -> "RepositoryPort":
    assert queues.queries is not None  # set by its constructor
    return queues.queries


def _faults(every: object, parallel: object, at_most: object, name: object) -> list[Fault]:
    faults: list[Fault] = []

    def fault(setting: str, value: object, allowed: str) -> None:
        given = str(value) if isinstance(value, timedelta) else describe(value)
        faults.append(Fault(f"PgQueuerRunner.{setting}", given, allowed))

    if not isinstance(every, timedelta) or every.total_seconds() not in _EVERY:
        fault("every", every, f"a timedelta of {', '.join(map(str, _EVERY[:-1]))} or {_EVERY[-1]} seconds")
    if not isinstance(parallel, int) or isinstance(parallel, bool) or not 1 <= parallel <= 100:
        fault("parallel", parallel, "a whole number from 1 to 100")
    if not isinstance(at_most, timedelta) or not timedelta(seconds=1) <= at_most <= timedelta(hours=1):
        fault("at_most", at_most, "a timedelta from 1 second to 1 hour")
    if not isinstance(name, str) or not name.strip():
        fault("name", name, 'a name such as "skene"')
    return faults
