"""Keys that follow from what they are about: the same for the same, and for nothing else."""

from hashlib import sha256

__all__ = ["digest", "unique_key"]


def unique_key(kind: str, *about: str) -> str:
    """A key that is the same for the same thing and for no other, and tells nothing of whom it is about.

    Args:
        kind: e.g. `upgrade_prompt`.
        about: loop, step, subject, plan, window: whatever makes it one thing.
    """
    return f"{kind}:{digest(*about).hex()[:40]}"


def digest(*parts: str) -> bytes:
    """A stable hash of some texts, in their order."""
    # With each part's length, so that no two lists of parts read the same, whatever a subject contains.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
