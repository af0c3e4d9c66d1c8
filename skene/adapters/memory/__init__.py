"""A storage that lives as long as the process: for tests, demos and single-process apps that may forget."""

from skene.adapters.memory.bills import MemoryBills
from skene.adapters.memory.contacts import MemoryContacts
from skene.adapters.memory.counters import MemoryCounters
from skene.adapters.memory.firings import MemoryFirings
from skene.adapters.memory.forgetting import MemoryForgetting
from skene.adapters.memory.grants import MemoryGrants
from skene.adapters.memory.history import MemoryHistory
from skene.adapters.memory.holdings import MemoryHoldings
from skene.adapters.memory.ledger import MemoryLedger
from skene.adapters.memory.merging import MemoryMerging
from skene.adapters.memory.outbox import MemoryOutbox
from skene.adapters.memory.pruning import MemoryPruning
from skene.adapters.memory.queries import MemoryQueries
from skene.adapters.memory.state import Conversion, State
from skene.adapters.memory.syncs import MemorySyncs
from skene.adapters.system import SystemClock
from skene.ports.clock import Clock

__all__ = ["Conversion", "MemoryStorage"]


class MemoryStorage(
    MemoryCounters,
    MemoryBills,
    MemoryHoldings,
    MemoryGrants,
    MemoryMerging,
    MemoryLedger,
    MemoryHistory,
    MemoryOutbox,
    MemoryFirings,
    MemoryContacts,
    MemorySyncs,
    MemoryForgetting,
    MemoryPruning,
):
    """The port `Storage` in plain Python. Exact among one event loop's tasks; nothing outlives the process.

    Args:
        clock: where time comes from; this machine's clock if left out.

    Attributes:
        queries: answers queries as it was told to.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__(State(clock or SystemClock()))
        self.queries = MemoryQueries()

    async def start(self) -> None:
        """Nothing to connect to."""

    async def aclose(self) -> None:
        """Nothing to release; what was kept stays."""
