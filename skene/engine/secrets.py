"""What is not copied from a user's row: it would lie in tables, messages and logs of skene's for years."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from skene.definitions.tokens import tokenize

__all__ = ["LONGEST_COPY", "SECRET", "copied", "is_secret"]

LONGEST_COPY = 10_000
"""Characters of a value that is copied."""

# Understood alike by Python and by PostgreSQL; for names in lower case with `_` around and between their
# words. Three, because PostgreSQL takes ten times as long for one that says it all.
SECRET = (
    "passw|passphrase|passcode|pwd|secret|token|hash|credential",
    "(?:api|private|access|signing|encryption)_?key|card_?(?:number|no|num)",
    "_(?:pass|pin|t?otp|mfa|2fa|salt|ssn|cards?|iban|cvc|cvv)[0-9]*_",
)
_SECRET = [re.compile(pattern) for pattern in SECRET]
_HUMP = re.compile("([a-z0-9])([A-Z])")


@lru_cache(maxsize=5000)
def is_secret(column: str) -> bool:
    """Whether a column's name sounds as if its values were nobody else's business."""
    words = "_" + _HUMP.sub(r"\1_\2", column).lower() + "_"
    return any(pattern.search(words) for pattern in _SECRET)


def copied(row: Mapping[str, Any], query: str) -> dict[str, Any]:
    """What is kept of a row that a query found.

    As with the rows of triggers, columns that look secret and values over 10,000 characters are left out,
    unless the query names the column itself: `SELECT *` means all there is, and nobody thinks of all of it.
    """
    named = _names(query)
    return {
        name: value
        for name, value in row.items()
        if name.lower() in named
        or not (is_secret(name) or (isinstance(value, str) and len(value) > LONGEST_COPY))
    }


@lru_cache(maxsize=500)
def _names(query: str) -> frozenset[str]:
    return frozenset(token.name.lower() for token in tokenize(query) if token.name)
