"""Callers that go on whatever happens, and keep books of what they were told."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice

import anyio
from anyio.abc import SocketStream

from tests.benchmarks.frame.measuring import percentile

__all__ = ["Books", "Line", "Tally", "begun", "call", "storm"]

END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
REFUSED = (402, 403, 429)
DIAL_AGAIN = 0.05


@dataclass(slots=True)
class Tally:
    """What one subject was told.

    Attributes:
        yes: calls that got a 2xx.
        no: calls that were refused for a limit.
        unknown: calls without an answer, or with one that leaves open whether they were counted: 5xx.
    """

    yes: int = 0
    no: int = 0
    unknown: int = 0


@dataclass(slots=True)
class Books:
    """What all callers were told: by subject, by status (0: no answer), and after how many seconds."""

    subjects: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    statuses: Counter[int] = field(default_factory=Counter[int])
    took: list[float] = field(default_factory=list[float])

    def enter(self, subject: str, status: int, seconds: float) -> None:
        """One call has ended."""
        tally = self.subjects[subject]
        self.statuses[status] += 1
        self.took.append(seconds)
        if 200 <= status < 300:
            tally.yes += 1
        elif status in REFUSED:
            tally.no += 1
        else:
            tally.unknown += 1

    def forget_times(self) -> None:
        """Keep what subjects were told; statuses and seconds begin again."""
        self.statuses.clear()
        self.took.clear()

    @property
    def yes(self) -> int:
        """All calls that were admitted."""
        return sum(tally.yes for tally in self.subjects.values())

    @property
    def no(self) -> int:
        """All calls that were refused for a limit."""
        return sum(tally.no for tally in self.subjects.values())

    @property
    def unknown(self) -> int:
        """All calls of which nobody knows whether they were counted."""
        return sum(tally.unknown for tally in self.subjects.values())

    @property
    def slowest(self) -> float:
        """Seconds that the slowest call took; 0 if there was none."""
        return max(self.took, default=0.0)

    def seconds(self, share: float) -> float:
        """Seconds that a share of the calls, 0 to 1, do not exceed; endless if there was no call."""
        return percentile(self.took, share) if self.took else math.inf

    async def admits_again(self, within: float) -> float:
        """Wait until one more call is admitted; returns the seconds, or `within` if none is."""
        before, since = self.yes, anyio.current_time()
        with anyio.move_on_after(within):
            while self.yes == before:
                await anyio.sleep(0.01)
        return anyio.current_time() - since


class Line:
    """A connection to one server, as little of an HTTP client as there can be; dialled again when it broke.

    Args:
        address: such as `http://127.0.0.1:8000`.
        patience: seconds after which a call is given up.
    """

    def __init__(self, address: str, patience: float = 20.0) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        self._host, self._port = host, int(port)
        self._patience = patience
        self._stream: SocketStream | None = None

    async def ask(self, head: str, subject: str) -> tuple[int, bytes]:
        """Send a request and return its status and body; status 0: no answer.

        Args:
            head: method and path.
            subject: who calls.

        Raises:
            OSError: nobody listens there; nothing was sent.
        """
        stream = self._stream or await anyio.connect_tcp(self._host, self._port)
        self._stream = None
        request = f"{head} HTTP/1.1\r\nhost: chaos.test\r\nx-user: {subject}\r\ncontent-length: 0\r\n\r\n"
        try:
            with anyio.move_on_after(self._patience):
                await stream.send(request.encode())
                status, body = await _answer(stream)
                self._stream = stream
                return status, body
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            pass
        finally:
            if self._stream is None:
                await anyio.aclose_forcefully(stream)
        return 0, b""

    async def aclose(self) -> None:
        """Hang up."""
        if self._stream is not None:
            await anyio.aclose_forcefully(self._stream)
            self._stream = None


async def _answer(stream: SocketStream) -> tuple[int, bytes]:
    data = b""
    while (head := data.find(END)) < 0:
        data += await stream.receive()
    at = data.lower().index(LENGTH, 0, head + 2) + len(LENGTH)
    whole = head + len(END) + int(data[at : data.index(b"\r\n", at)])
    while len(data) < whole:
        data += await stream.receive()
    return int(data[9:12]), data[head + len(END) : whole]


async def call(books: Books, line: Line, subject: str) -> None:
    """Make one call and enter it; a server that is away is dialled until it is back."""
    while True:
        begun_at = anyio.current_time()
        try:
            status, _ = await line.ask("POST /api/features/work", subject)
        except OSError:
            await anyio.sleep(DIAL_AGAIN)
            continue
        books.enter(subject, status, anyio.current_time() - begun_at)
        return


async def storm(
    addresses: Sequence[str],
    subjects: Iterable[str],
    connections: int,
    books: Books | None = None,
    *,
    pause: float = 0.0,
    patience: float = 20.0,
) -> Books:
    """Let callers call until there are no more subjects; each makes its next call when one is answered.

    Args:
        addresses: of the servers; the callers are divided among them.
        subjects: who calls, one after another.
        connections: how many callers.
        books: where the calls are entered; None: new ones.
        pause: seconds between two calls of a caller.
        patience: seconds after which a call is given up.
    """
    kept = Books() if books is None else books
    left = iter(subjects)

    async def caller(address: str) -> None:
        line = Line(address, patience)
        try:
            for subject in left:
                await call(kept, line, subject)
                if pause:
                    await anyio.sleep(pause)
        finally:
            await line.aclose()

    async with anyio.create_task_group() as tasks:
        for address in islice(cycle(addresses), connections):
            tasks.start_soon(caller, address)
    return kept


def begun(subjects: Iterable[str], ended: anyio.Event) -> Iterator[str]:
    """The subjects until an event is set: calls that are begun by then are waited for."""
    for subject in subjects:
        if ended.is_set():
            return
        yield subject
