"""`Contacts`: who must not be written to."""

from skene.ports.contacts import Suppressed, Suppression
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import MICROSECOND, ConformanceBase

UNSUBSCRIBED, BOUNCED, COMPLAINED = Suppressed.UNSUBSCRIBED, Suppressed.BOUNCED, Suppressed.COMPLAINED
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class ContactConformance(ConformanceBase):
    """Suppressions."""

    async def test_a_reason_is_known_once(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: who unsubscribed twice has unsubscribed at the first time."""
        clock.advance(MICROSECOND)
        begin = clock.now()
        assert await storage.suppress(UNSUBSCRIBED, subject="ada", source="link") is True
        clock.advance("1h")
        assert await storage.suppress(UNSUBSCRIBED, subject="ada", source="code") is False
        assert await storage.suppressions(subject="ada") == (
            Suppression(UNSUBSCRIBED, "ada", None, begin, "link"),
        )
        assert await storage.suppress(UNSUBSCRIBED, subject="bob", source="link") is True
        assert await storage.suppress(BOUNCED, address=DIGEST, source="resend") is True
        assert await storage.suppress(COMPLAINED, address=DIGEST, source="resend") is True
        assert await storage.suppress(BOUNCED, address=DIGEST, source="resend") is False
        assert dict(await storage.suppression_counts()) == {UNSUBSCRIBED: 2, BOUNCED: 1, COMPLAINED: 1}

    async def test_subjects_are_no_addresses(self, storage: Storage) -> None:
        """Contract: a subject whose id is the digest of an address is another matter than the address."""
        assert await storage.suppress(BOUNCED, address=DIGEST, source="resend")
        assert await storage.suppressions(subject=DIGEST) == ()
        assert await storage.suppress(BOUNCED, subject=DIGEST, source="code")
        assert await storage.unsuppress(address=DIGEST) == 1
        (left,) = await storage.suppressions(subject=DIGEST)
        assert (left.subject, left.address) == (DIGEST, None)

    async def test_latest_first(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `suppressions`: of a subject, of an address, of both, of everybody."""
        assert await storage.suppressions() == ()
        await storage.suppress(UNSUBSCRIBED, subject="ada", source="link")
        clock.advance("1h")
        await storage.suppress(BOUNCED, address=DIGEST, source="resend")
        clock.advance("1h")
        await storage.suppress(UNSUBSCRIBED, subject="bob", source="code")
        clock.advance("1h")
        await storage.suppress(COMPLAINED, address=DIGEST, source="resend")
        known = await storage.suppressions()
        assert [(one.kind, one.subject, one.address, one.source) for one in known] == [
            (COMPLAINED, None, DIGEST, "resend"),
            (UNSUBSCRIBED, "bob", None, "code"),
            (BOUNCED, None, DIGEST, "resend"),
            (UNSUBSCRIBED, "ada", None, "link"),
        ]
        assert await storage.suppressions(limit=3) == known[:3]
        assert await storage.suppressions(address=DIGEST) == (known[0], known[2])
        assert await storage.suppressions(address=DIGEST, limit=1) == (known[0],)
        assert await storage.suppressions(subject="bob") == (known[1],)
        assert await storage.suppressions(subject="ada", address=DIGEST) == (known[0], known[2], known[3])
        assert await storage.suppressions(subject="cy") == ()
        assert await storage.suppressions(address=DIGEST.upper()) == ()

    async def test_a_reason_is_forgotten(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: of one kind or of all, of nobody else; a person may change their mind again."""
        await storage.suppress(UNSUBSCRIBED, subject="ada", source="link")
        await storage.suppress(UNSUBSCRIBED, subject="bob", source="link")
        await storage.suppress(BOUNCED, address=DIGEST, source="resend")
        await storage.suppress(COMPLAINED, address=DIGEST, source="resend")
        assert await storage.unsuppress(subject="ada", kind=BOUNCED) == 0
        assert await storage.unsuppress(subject="ada") == 1
        assert await storage.unsuppress(subject="ada") == 0
        assert await storage.unsuppress(address=DIGEST, kind=BOUNCED) == 1
        assert [one.kind for one in await storage.suppressions(address=DIGEST)] == [COMPLAINED]
        await storage.suppress(BOUNCED, address=DIGEST, source="code")
        assert await storage.unsuppress(address=DIGEST) == 2
        assert dict(await storage.suppression_counts()) == {UNSUBSCRIBED: 1}
        clock.advance("1h")
        assert await storage.suppress(UNSUBSCRIBED, subject="ada", source="code") is True
        ((kept),) = await storage.suppressions(subject="ada")
        assert (kept.at, kept.source) == (clock.now(), "code")
