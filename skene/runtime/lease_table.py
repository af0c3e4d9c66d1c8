"""The leases of a process, found by whom and what they are for."""

from collections.abc import Iterator

from skene.runtime.lease import Lease, Moment

__all__ = ["MOST", "LeaseTable"]

MOST = 10_000
"""Of how many subjects leases are held at a time. The others are counted call by call."""


class LeaseTable:
    """By subject and meter. The subject that took a block last is at the end, so the oldest come first."""

    def __init__(self) -> None:
        self._by_subject: dict[str, dict[str, Lease]] = {}

    def __iter__(self) -> Iterator[Lease]:
        for leases in self._by_subject.values():
            yield from leases.values()

    def __contains__(self, subject: str) -> bool:
        return subject in self._by_subject

    def __bool__(self) -> bool:
        return bool(self._by_subject)

    def get(self, subject: str, meter: str) -> Lease | None:
        """The lease of a counter."""
        leases = self._by_subject.get(subject)
        return leases.get(meter) if leases else None

    def of(self, subject: str) -> tuple[Lease, ...]:
        """All leases of a subject."""
        return tuple(self._by_subject.get(subject, {}).values())

    def put(self, lease: Lease) -> None:
        """Keep one, in the place of an older one of its counter; unless there is no place for its subject.

        Then the subject that took a block longest ago has to go, at once if it holds nothing, else when its
        leases have been returned.
        """
        subject, meter = lease.call.subject, lease.call.charges[0].meter
        if subject not in self._by_subject and len(self._by_subject) >= MOST:
            oldest = next(iter(self._by_subject))
            leases = self.of(oldest)
            if any(one.left or one.flight for one in leases):
                for one in leases:
                    one.end()
                return
            del self._by_subject[oldest]
        self._by_subject.setdefault(subject, {})[meter] = lease

    def touch(self, subject: str) -> None:
        """Note that a subject has taken a block."""
        if subject in self._by_subject:
            self._by_subject[subject] = self._by_subject.pop(subject)

    def over(self, at: Moment) -> list[Lease]:
        """The leases that are over and hold units; those that hold none are forgotten."""
        found: list[Lease] = []
        for subject in tuple(self._by_subject):
            leases = self._by_subject[subject]
            for meter, lease in tuple(leases.items()):
                if lease.flight is not None or lease.age(at) is not None:
                    continue
                if lease.left:
                    found.append(lease)
                else:  # kept until now, for calls that were refused before it was returned
                    del leases[meter]
            if not leases:
                del self._by_subject[subject]
        return found

    def clear(self) -> None:
        """Forget all of them."""
        self._by_subject.clear()
