"""Who must not be written to, in memory."""

from collections import Counter
from collections.abc import Mapping

from skene.adapters.memory.state import Part
from skene.ports.contacts import Suppressed, Suppression

__all__ = ["MemoryContacts"]


class MemoryContacts(Part):
    """The port `Contacts`."""

    async def suppress(
        self, kind: Suppressed, *, subject: str | None = None, address: str | None = None, source: str
    ) -> bool:
        """Remember a reason not to write to a subject or an address, once."""
        subject = self._living(subject)
        known, name = self._state.suppressions, (kind, subject, address)
        if name in known:
            return False
        known[name] = Suppression(kind, subject, address, self._state.clock.now(), source)
        return True

    async def unsuppress(
        self,
        *,
        subject: str | None = None,
        address: str | None = None,
        kind: Suppressed | None = None,
    ) -> int:
        """Forget reasons, of one kind or of all."""
        gone = [name for name in self._of(subject, address) if kind in (None, name[0])]
        for name in gone:
            del self._state.suppressions[name]
        return len(gone)

    async def suppressions(
        self, *, subject: str | None = None, address: str | None = None, limit: int = 100
    ) -> tuple[Suppression, ...]:
        """What is known of a subject or an address; of everybody without either. Latest first."""
        known = self._state.suppressions
        names = known if subject is None and address is None else self._of(subject, address)
        latest = sorted((known[name] for name in reversed(list(names))), key=lambda s: s.at, reverse=True)
        return tuple(latest[:limit])

    async def suppression_counts(self) -> Mapping[Suppressed, int]:
        """How many there are of each kind."""
        return Counter(kind for kind, _, _ in self._state.suppressions)

    def _of(
        self, subject: str | None, address: str | None
    ) -> list[tuple[Suppressed, str | None, str | None]]:
        """The names of what is kept of a subject or an address."""
        known, subject = self._state.suppressions, self._living(subject)
        subjects = [(kind, subject, None) for kind in Suppressed if subject is not None]
        addresses = [(kind, None, address) for kind in Suppressed if address is not None]
        return [name for name in (*subjects, *addresses) if name in known]

    def _living(self, subject: str | None) -> str | None:
        return None if subject is None else self._state.living(subject)
