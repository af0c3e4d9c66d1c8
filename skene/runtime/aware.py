"""Instants that come from outside must say of which zone they are."""

from datetime import datetime

__all__ = ["check_aware"]


def check_aware(**instants: datetime | None) -> None:
    """Refuse an instant without a time zone; the keyword is its name in the message.

    Raises:
        ValueError: one has none.
    """
    for name, instant in instants.items():
        if instant is not None and instant.tzinfo is None:
            raise ValueError(f"{name}: got {instant!r}; give a time with its zone, e.g. datetime.now(UTC)")
