"""Subject ids: opaque text that every store can keep."""

from hashlib import sha256

__all__ = ["MAX_SUBJECT_BYTES", "storable_id"]

MAX_SUBJECT_BYTES = 200


def storable_id(subject: str) -> str:
    """The id under which a subject is stored.

    Any text is safe. Ids of over 200 bytes in UTF-8, and those no database can keep (NUL, lone surrogates),
    are replaced by `sha256:` and their digest. Nothing is normalised: é in one code point and in two are two
    subjects.
    """
    if subject.isascii() and len(subject) <= MAX_SUBJECT_BYTES and "\0" not in subject:
        return subject
    encoded = subject.encode("utf-8", "surrogatepass")
    if len(encoded) <= MAX_SUBJECT_BYTES and "\0" not in subject and not _has_surrogate(subject):
        return subject
    return "sha256:" + sha256(encoded).hexdigest()


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text) if not text.isascii() else False
