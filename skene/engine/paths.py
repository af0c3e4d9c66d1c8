"""Reading one value out of a payload."""

from collections.abc import Mapping

from pydantic import JsonValue

__all__ = ["subject_at"]

_LONGEST = 256
"""Bits of a number that can be somebody's id."""


def subject_at(payload: Mapping[str, JsonValue], path: str) -> str | None:
    """The subject that a payload names.

    Args:
        payload: a JSON object.
        path: the keys that lead to the id, with dots between them: `data.user_id`. It goes through objects
            only, never into a list.

    Returns:
        The id as text, a whole number in digits. None if there is nothing, or nothing that can be an id.
    """
    found: JsonValue = dict(payload)
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    if isinstance(found, float) and found.is_integer():
        found = int(found)  # 12.0 is how some senders write 12
    if isinstance(found, str):
        return found or None
    whole = isinstance(found, int) and not isinstance(found, bool) and found.bit_length() <= _LONGEST
    return str(found) if whole else None
