"""Names a subject in custom data so that nobody else can.

Whoever has the page's client-side token, which is every visitor, can open a checkout with custom data of
their own, or replace that of an open one. So what names a subject there carries a proof that skene wrote it.
"""

import hashlib
import hmac
import json

from skene.adapters.paddle.reading import SUBJECT_KEY, WALL_KEY, Json, text

__all__ = ["Naming"]

PROOF_KEY = "skene_proof"


class Naming:
    """Writes and reads names in custom data.

    Args:
        secret: known to nobody outside; here the notification destination's.
    """

    def __init__(self, secret: str) -> None:
        self._key = hmac.new(secret.encode(), b"skene: custom data", hashlib.sha256).digest()

    def write(self, subject: str, wall: str | None) -> dict[str, str]:
        """Custom data that names a subject and perhaps a wall."""
        made = {SUBJECT_KEY: subject, PROOF_KEY: self._proof(subject, wall)}
        return {**made, WALL_KEY: wall} if wall else made

    def read(self, custom_data: Json) -> tuple[str | None, str | None]:
        """Subject and wall of custom data that skene wrote; None and None of any other."""
        subject, wall = text(custom_data.get(SUBJECT_KEY)), text(custom_data.get(WALL_KEY))
        proof = text(custom_data.get(PROOF_KEY))
        if subject is None or proof is None:
            return None, None
        right = self._proof(subject, wall).encode()
        if not hmac.compare_digest(right, proof.encode("utf-8", "replace")):
            return None, None
        return subject, wall

    def _proof(self, subject: str, wall: str | None) -> str:
        return hmac.new(self._key, json.dumps([subject, wall]).encode(), hashlib.sha256).hexdigest()
