"""The parts that the runtime works with, in one place so that a test can swap any of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from skene.definitions import EmailAction
from skene.engine.program import Program
from skene.ports.billing import Billing
from skene.ports.clock import Clock
from skene.ports.notifier import Notifier, ProfileResolver
from skene.ports.storage import Storage
from skene.runtime.links import Links
from skene.runtime.quiet import QuietLog

__all__ = ["OnStorageError", "Parts"]

OnStorageError = Literal["deny", "allow"]


@dataclass(slots=True)
class Parts:
    """What a running skene is made of.

    Mutable on purpose: `Skene.override` swaps attributes, and every task sees it.

    Attributes:
        program: the compiled loops.
        storage, billing, notifiers, clock: the back-ends.
        profile: resolves a subject to its profile, or None.
        links: signs and reads the links in messages.
        on_storage_error: `deny` raises, `allow` lets calls through uncounted.
        wake: tells the worker that there is something to send.
        paused: the worker in the background stands still; a test that drains the outbox itself wants that.
        log: where warnings go.
    """

    program: Program
    storage: Storage
    billing: Billing
    notifiers: Mapping[str, Notifier]
    clock: Clock
    profile: ProfileResolver | None
    links: Links
    on_storage_error: OnStorageError
    wake: Callable[[], None]
    log: QuietLog
    paused: bool = False

    @property
    def default_plan(self) -> str:
        """The plan of those who pay for nothing."""
        return self.billing.default

    def channel(self, mail: EmailAction) -> str:
        """The name of the notifier that a mail goes through: the one it names, or the first."""
        return mail.provider or next(iter(self.notifiers))
