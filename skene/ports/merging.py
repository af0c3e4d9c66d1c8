"""Merging: an anonymous subject turns out to be a known one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from skene.ports.counters import Draft
from skene.ports.firings import Watcher

__all__ = ["ASKED_ALREADY", "Merged", "Merging", "names_source"]

ASKED_ALREADY = "asked already, under the other name"
"""Why the second of two messages that ask the same person the same is not sent."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge came to.

    Attributes:
        subject: whom the source counts as from now on: the target; or whom the target had been merged into;
            or, if the source had been merged into somebody before, that one.
        moved: how many rows changed hands; 0 if there was nothing left to move.
        first: the source had not been merged before.
        customer: the customer of the billing service that the subject is tied to now, or None.
        untied: the other customer, if source and target both had one: nobody is tied to it any more, and what
            it pays for gives nobody a plan. Somebody has to look at that.
    """

    subject: str
    moved: int
    first: bool
    customer: str | None = None
    untied: str | None = None


class Merging(Protocol):
    """Makes one subject out of two."""

    async def merge(
        self,
        source: str,
        target: str,
        *,
        watchers: tuple[Watcher, ...] = (),
        hooks: tuple[str, ...] = (),
        drafts: tuple[Draft, ...] = (),
    ) -> Merged:
        """Make everything of `source` the target's, in one transaction; `source` counts as it from now on.

        - Units used add up, for each counter. Where both have a running window the target's stays, with what
          was used in both; of a rolling one, part by part. Nothing is forgiven, and no more is admitted than
          the sum leaves. What has been put on a bill counts as such and is not put on one again.
        - Grants, walls, conversions, journeys, messages, firings, the log, idempotency keys, suppressions and
          who was acted upon become the target's. A grant under a key that the target has already gets another
          one. Where both were to be asked to upgrade by the same step on the same plan, and both windows
          are running, one message goes out.
        - An override becomes the target's, unless the target has one for that counter in force.
        - The billing customer becomes the target's if the target has none, or none that gives it more than
          the default plan while the source's does. A plan set by hand does, if the target holds only the
          default plan. `watchers` and `hooks` hear if the target's plan is another one now.

        Messages in `drafts` are written, about the subject, the first time.

        Done again it moves what has gathered under the source since, as a call that was under way may leave
        something there. A source that was merged into somebody stays theirs, whatever the target. A give-back
        by the old name reaches the window that its units have become part of.

        Raises:
            ValueError: the target is the source, or was merged into it.
            StorageUnavailable: nothing is known to have moved; merging again is right.
        """
        ...


def names_source(data: Mapping[str, object], source: str) -> bool:
    """Whether the data of an event's message tell of a merge of `source`."""
    told = data.get("data")
    return isinstance(told, Mapping) and cast("Mapping[str, object]", told).get("source") == source
