"""Signed links: what a person follows from a message or a refusal."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

from itsdangerous import BadData, SignatureExpired, TimestampSigner, URLSafeTimedSerializer

from skene.errors import LinkInvalid
from skene.ports.clock import Clock

__all__ = ["LinkTarget", "Links"]

_NOT_OURS = (BadData, LookupError, TypeError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """What a link stands for: a wall, or a subject without one; and the plan it sells, if it names one."""

    wall: str | None
    subject: str | None
    plan: str | None = None


class Links:
    """Makes and reads the links to `…/upgrade` and `…/unsubscribe`.

    A link to payment names a wall, not a person, and works until it expires. A link to unsubscribe names a
    person, since no wall stands behind it, and works for as long as the key: a mail may be read years later.
    Links can only be made with the key, so none can be turned into one for somebody else, or for another
    purpose.
    """

    def __init__(self, key: bytes, base_url: str, clock: Clock, *, lifetime: timedelta) -> None:
        """Make and read links with one key.

        Args:
            key: secret key material.
            base_url: where the routes are mounted, e.g. `https://app.acme.test/skene`.
            clock: for issue and expiry.
            lifetime: how long a link works.
        """
        self.base_url = base_url.rstrip("/")
        self.clock = clock
        self._lifetime = lifetime
        self._serializer = self._signed_for("skene.upgrade", key)
        self._unsubscribing = self._signed_for("skene.unsubscribe", key)

    @property
    def origin(self) -> str:
        """Scheme and host of the public address."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def upgrade(self, *, wall: str | None = None, subject: str | None = None, plan: str | None = None) -> str:
        """The link that leads a subject to payment, for one plan if it is named."""
        payload = {"w": wall} if wall is not None else {"s": subject}
        if plan is not None:
            payload["p"] = plan
        return f"{self.base_url}/upgrade?token={quote(str(self._serializer.dumps(payload)))}"

    def unsubscribe(self, subject: str) -> str:
        """The link with which a subject declines further mails."""
        return f"{self.base_url}/unsubscribe?token={quote(str(self._unsubscribing.dumps({'s': subject})))}"

    def read_unsubscribe(self, token: str) -> str:
        """Read the token of a link to unsubscribe.

        Returns:
            The subject.

        Raises:
            LinkInvalid: malformed or forged.
        """
        try:
            match self._unsubscribing.loads(token):
                case {"s": str(subject)}:
                    return subject
                case _:
                    raise LinkInvalid("not one of ours")
        except _NOT_OURS as error:
            raise LinkInvalid("not one of ours") from error

    def read(self, token: str) -> LinkTarget:
        """Read a link's token.

        Raises:
            LinkInvalid: malformed, forged or expired.
        """
        try:
            match self._serializer.loads(token, max_age=int(self._lifetime.total_seconds())):
                case {"w": str(wall), "p": str(plan)}:
                    return LinkTarget(wall, None, plan)
                case {"s": str(subject), "p": str(plan)}:
                    return LinkTarget(None, subject, plan)
                case {"w": str(wall)}:
                    return LinkTarget(wall, None)
                case {"s": str(subject)}:
                    return LinkTarget(None, subject)
                case _:
                    raise LinkInvalid("not one of ours")
        except SignatureExpired as error:
            raise LinkInvalid("expired") from error
        except _NOT_OURS as error:
            raise LinkInvalid("not one of ours") from error

    def _signed_for(self, purpose: str, key: bytes) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            key, salt=purpose, signer=_signer(self), signer_kwargs={"key_derivation": "hmac"}
        )


def _signer(links: Links) -> type[TimestampSigner]:
    """A signer that reads our clock instead of the process's."""

    class ClockSigner(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(links.clock.now().timestamp())

        def timestamp_to_datetime(self, ts: int) -> datetime:
            return datetime.fromtimestamp(ts, tz=UTC)

    return ClockSigner
