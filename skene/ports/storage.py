"""The port to the user's database: narrow ports, one transaction per verb."""

from typing import Protocol

from skene.ports.accounts import Accounts
from skene.ports.contacts import Contacts
from skene.ports.counters import Counters
from skene.ports.firings import Firings
from skene.ports.grants import Grants
from skene.ports.history import History
from skene.ports.holdings import Holdings
from skene.ports.ledger import Ledger
from skene.ports.merging import Merging
from skene.ports.outbox import Outbox
from skene.ports.overrides import Overrides
from skene.ports.syncs import Syncs

__all__ = ["Storage"]


class Storage(
    Counters,
    Holdings,
    Grants,
    Overrides,
    Accounts,
    Merging,
    Ledger,
    History,
    Outbox,
    Firings,
    Contacts,
    Syncs,
    Protocol,
):
    """Where everything is kept.

    Every verb is one transaction: all of it happened, or nothing. All instants are aware UTC. Any verb may
    raise
    `StorageUnavailable`; after it nothing is known to have happened, and calling again is right. Adapters
    are safe to use from many tasks of one event loop.
    """

    async def start(self) -> None:
        """Connect, and make sure that the tables are there. May be called again, then does nothing.

        Raises:
            SchemaOutdated: tables are missing or old.
            StorageUnavailable: the database cannot be reached.
        """
        ...

    async def aclose(self) -> None:
        """Release everything. May be called twice; the storage can be started again."""
        ...

    async def forget(self, subject: str) -> int:
        """Erase a person, and whoever was merged into the person.

        Counters, grants, overrides, messages, firings, log rows, suppression, billing record and keys go, and
        what teams have counted under the person's name (`<meter>@<subject>`). Walls, conversions and journeys
        stay, under no name. An id that was merged into somebody is forgotten by itself, with whatever is left
        under it: whom it was merged into is somebody else to erase.

        A webhook that comes later does not bring the person back: the customer's id stays blocked as a
        digest.

        Returns:
            How many rows were erased or made anonymous.
        """
        ...

    async def prune(self) -> int:
        """Delete what is only needed for a time, in any number of transactions. Returns how many rows.

        - Idempotency keys after 24 h.
        - Log rows after 90 days, and all but the latest 1,000,000.
        - Firings that ended over 7 days ago, except that a key must guard for 90 days.
        - Ticks after 400 days, never the latest of a step.
        - Messages that were sent, cancelled or skipped over 400 days ago. A wall that stands and a counter
          whose window runs go on guarding: nobody is asked or warned once more.
        - Webhooks that were received over 400 days ago.
        - Windows that ended over 400 days ago, unless they have use that is still to be reported.
        - Counters whose window has been over for 400 days and once more its own length (which is how long a
          use counts in a rolling window), unless they have use that is still to be reported. A window that
          never ends is never over.

        Everything else is kept until its subject is forgotten. Nobody waits for it: what another call holds
        is left for the next time. A call deletes at most `PRUNED_AT_ONCE` rows of a sort, and looks at so
        many counters; where it returns as many or more, there is more to do.
        """
        ...
