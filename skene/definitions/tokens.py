"""SQL cut into words, texts, names and signs, as PostgreSQL and SQLite cut it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

__all__ = ["Token", "TokenError", "tokenize"]

# Quotes match possessively (`*+`): an odd one must not be found again in the middle of another text. What is
# not ASCII belongs to words, as in PostgreSQL.
_PIECE = r"""
    (?P<space>[ \t\n\r\f\v]+ | --[^\n\r]*)
  | (?P<comment>/\*)
  | (?P<escape>[uU]&["'])
  | (?P<text>[eE]'(?:[^'\\]|\\.|'')*+' | '(?:[^']|'')*+')
  | (?P<quoted>"(?:[^"]|"")*+" | `(?:[^`]|``)*+` | \[[A-Za-z_][\w\ ]*\])
  | (?P<open>[eE]?' | ["`])
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?\$)
  | (?P<number_bind>\$\d+)
  | (?P<word>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)
  | (?P<number>0[xXoObB][0-9a-fA-F_]+ | \.?\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)
  | (?P<cast>::)
  | (?P<bind>:[A-Za-z_]\w*)
  | (?P<sign>.)
    """
_COMMENT = re.compile(r"/\*|\*/")


class TokenError(Exception):
    """What cannot be cut.

    Attributes:
        given: what is there.
        allowed: what should be.
    """

    def __init__(self, given: str, allowed: str) -> None:
        self.given = given
        self.allowed = allowed
        super().__init__(given)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a statement that is neither space nor comment.

    Attributes:
        kind: text, quoted, word, number, cast, bind, number_bind or sign.
        text: as written.
        start, end: where, in characters.
    """

    kind: str
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The word in capitals; empty for everything else, names in quotes too."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The name it is, with or without quotes; empty for everything else."""
        return self.text[1:-1] if self.kind == "quoted" else self.text if self.kind == "word" else ""


def tokenize(text: str) -> list[Token]:
    """Cut a text of SQL.

    Raises:
        TokenError: a text, name or comment does not end, or is written with escapes that hide it.
    """
    return list(_tokens(text))


@cache
def _pattern() -> re.Pattern[str]:
    """Compiled at the first query: it takes a while, and not every app has one."""
    return re.compile(_PIECE, re.VERBOSE | re.DOTALL | re.ASCII)


def _tokens(text: str) -> Iterator[Token]:
    token, place = _pattern(), 0
    while place < len(text):
        found = token.match(text, place)
        assert found is not None  # a sign is any character
        kind, end = str(found.lastgroup), found.end()
        if kind == "open":
            raise TokenError(f"a quote {found[0][-1]} that is not closed", f"a closing {found[0][-1]}")
        if kind == "escape":
            raise TokenError(
                f"{found[0]}…, which hides characters behind escapes", "the characters themselves"
            )
        if kind == "comment":
            end = _end_of_comment(text, end)
        elif kind == "dollar":
            kind, end = "text", _end_of_dollars(text, found[0], end)
        if kind not in ("space", "comment"):
            yield Token(kind, text[place:end], place, end)
        place = end


def _end_of_comment(text: str, start: int) -> int:
    depth = 1
    for found in _COMMENT.finditer(text, start):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return found.end()
    raise TokenError("a comment /* that is not closed", "a closing */")


def _end_of_dollars(text: str, tag: str, start: int) -> int:
    end = text.find(tag, start)
    if end < 0:
        raise TokenError(f"a text {tag} that is not closed", f"a closing {tag}")
    return end + len(tag)
