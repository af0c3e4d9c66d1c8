"""The functions that run inside the server, in Lua; each is one atomic step."""

from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

__all__ = ["CHANGED", "CONSUME", "EXPIRED", "FORGET", "NOTICE", "PRUNE", "REFUND", "SWAP", "TAKE", "Script"]

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Script:
    """A function, and the digest by which a server knows it."""

    text: str
    digest: str


def _read(name: str) -> Script:
    parts = (f"{part}.lua" for part in ("numbers", "counters", name))
    text = "\n".join([(_HERE / part).read_text(encoding="utf-8") for part in parts])
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


CONSUME, REFUND, NOTICE = _read("consume"), _read("refund"), _read("notice")
CHANGED, SWAP, TAKE = _read("changed"), _read("swap"), _read("take")
FORGET, PRUNE, EXPIRED = _read("forget"), _read("prune"), _read("expired")
