"""A user's SELECT, read before any database sees it: one statement that only reads, and the names it binds.

This is the first of two locks. It understands strings, quoted names and comments well enough to tell a word
that acts from one that is only text. The second lock is the database, which runs it in a transaction that
cannot write.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from skene.definitions.faults import DefinitionError, Fault, nearest, refuse
from skene.definitions.tokens import Token, TokenError, tokenize

__all__ = ["LONGEST_QUERY", "SUBJECT", "Select", "read_select"]

LONGEST_QUERY = 20_000
SUBJECT = "subject"
"""The name under which `$1` and `:subject` bind whom the trigger was about."""

_EXAMPLE = 'a SELECT such as "SELECT * FROM users WHERE id = $1"'
_STARTS = {"SELECT", "WITH"}
_WRITING = {
    *(
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE",
        "TRUNCATE",
        "DROP",
        "ALTER",
        "CREATE",
        "GRANT",
        "REVOKE",
        "COPY",
    ),
    *("CALL", "DO", "SET", "COMMIT", "ROLLBACK", "BEGIN", "INTO", "LOCK", "VACUUM"),
    *("ATTACH", "DETACH", "PRAGMA"),
}
_FUNCTIONS = (
    r"set_config|pg_sleep\w*|dblink\w*|lo_\w+|loread|lowrite|load_extension|fts3_tokenizer|readfile|writefile"
    r"|pg_(read|ls|stat)_\w*(file|dir)\w*|pg_terminate_backend|pg_cancel_backend|pg_reload_conf|pg_rotate_logfile"
    r"|pg_(try_)?advisory_\w+|pg_notify|pg_(logical|replication|create|drop|wal|switch|backup|start|stop)_\w+"
    r"|pg_promote|pg_file_\w+|nextval|setval|(query|cursor|table|schema|database)_to_xml\w*"
)


@dataclass(frozen=True, slots=True)
class Select:
    """A statement that only reads, as it was written.

    Attributes:
        text: the statement.
        parts: its text between the values it binds, one more than there are of these.
        binds: the name of each value, in the order of the text.
    """

    text: str
    parts: tuple[str, ...]
    binds: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names it binds, each once, in the order of their first use; `subject` for `$1`."""
        return tuple(dict.fromkeys(self.binds))

    def numbered(self, mark: str = "$") -> str:
        """The statement for a driver: `$1`, `$2`, … stand for `names`, or `?1`, `?2`, … with the mark `?`."""
        return self.render(lambda number: f"{mark}{number}")

    def render(self, placeholder: Callable[[int], str]) -> str:
        """The statement with a text of one's own for the value of `names[number - 1]`.

        It has no semicolon, and may end with a comment: what follows belongs on a new line.
        """
        numbers = {name: number for number, name in enumerate(self.names, 1)}
        text = self.parts[0]
        for name, part in zip(self.binds, self.parts[1:], strict=True):
            text += placeholder(numbers[name]) + part
        return text


def read_select(text: object) -> Select:
    """Read a statement, and refuse whatever is more than one that reads.

    Args:
        text: one `SELECT` or `WITH … SELECT`. `$1` or `:subject` stands for the subject, `:name` for a value
            of the trigger's row.

    Raises:
        DefinitionError: all that is wrong with it.
    """
    if not isinstance(text, str):
        raise refuse(text, _EXAMPLE)
    if not text.strip():
        raise refuse(text, _EXAMPLE, given="an empty text")
    if len(text) > LONGEST_QUERY:
        raise refuse(
            text,
            f"at most {LONGEST_QUERY:,} characters; a view can hold more",
            given=f"{len(text):,} characters",
        )
    if "\0" in text:
        raise refuse(text, "text without NUL characters", given="a text with a NUL character")
    return _read(text)


@lru_cache(maxsize=500)
def _read(text: str) -> Select:
    """Read each statement once: a condition is looked at again and again."""
    try:
        tokens = tokenize(text)
    except TokenError as error:
        raise refuse(text, error.allowed, given=error.given) from None
    statement = _one_statement(tokens)
    faults = [*(_start(statement) or _actions(statement)), *_binds(statement)]
    if faults:
        raise DefinitionError(dict.fromkeys(faults), "the query")
    return _select(text, statement)


def _one_statement(tokens: list[Token]) -> list[Token]:
    """The tokens of the only statement, without the semicolons at its end."""
    while tokens and tokens[-1].text == ";":
        tokens.pop()
    for place, token in enumerate(tokens):
        if token.text == ";":
            second = tokens[place + 1].text
            given = f"a second statement that begins with {second[:20]}"
            raise DefinitionError([Fault("", given, "one statement; a single SELECT")], "the query")
    if not tokens:
        raise DefinitionError([Fault("", "no statement", _EXAMPLE)], "the query")
    return tokens


def _start(tokens: list[Token]) -> list[Fault]:
    first = next((token for token in tokens if token.text != "("), tokens[0])
    if first.word in _STARTS:
        return []
    return [
        Fault("", f"a statement that begins with {first.text[:20]}", _EXAMPLE, nearest(first.word, _STARTS))
    ]


def _actions(tokens: list[Token]) -> list[Fault]:
    """Words that would do more than read, and functions that would."""
    faults: list[Fault] = []
    for place, token in enumerate(tokens):
        before = tokens[place - 1] if place else None
        if _does_more(token.name) and [one.text for one in tokens[place + 1 : place + 2]] == ["("]:
            faults.append(
                Fault("", f"the function {token.name}", "a query without it: it does more than read")
            )
        elif before is not None and (before.text == "." or before.word in ("FOR", "KEY")):
            continue  # a column of a table, or the end of what is refused at its beginning
        elif _locks_rows(tokens, place):
            faults.append(
                Fault("", f"FOR {tokens[place + 1].word}, which locks rows", "a SELECT that only reads")
            )
        elif token.word in _WRITING and not (token.word == "SET" and _names_a_column(tokens, place)):
            allowed = f'a SELECT that only reads; a column of that name goes into quotes: "{token.text}"'
            faults.append(Fault("", f"the word {token.word}", allowed))
    return faults


def _does_more(name: str) -> bool:
    # Compiled at the first query, which re remembers; at the import every app would wait for it.
    return bool(re.fullmatch(_FUNCTIONS, name.lower()))


def _locks_rows(tokens: list[Token], place: int) -> bool:
    words = [token.word for token in tokens[place : place + 3]]
    return words[:2] in (["FOR", "UPDATE"], ["FOR", "SHARE"]) or words in (
        ["FOR", "NO", "KEY"],
        ["FOR", "KEY", "SHARE"],
    )


def _names_a_column(tokens: list[Token], place: int) -> bool:
    """Whether a SET belongs to the `SEARCH … SET` or `CYCLE … SET` of a recursive query."""
    for token in reversed(tokens[:place]):
        if token.word in ("SEARCH", "CYCLE"):
            return True
        if not token.name and token.text != ",":
            break
    return False


def _binds(tokens: list[Token]) -> list[Fault]:
    """Placeholders that mean nothing here, each with what to write instead."""
    faults: list[Fault] = []
    for token in tokens:
        if token.kind == "number_bind" and token.text != "$1":
            faults.append(
                Fault("", f"the placeholder {token.text}", "$1 for the subject, or a name such as :plan")
            )
        elif token.text == "?":
            allowed = "$1 for the subject, or a name such as :plan; for the operator, jsonb_exists(data, key)"
            faults.append(Fault("", "the placeholder ?", allowed))
        elif token.text == "$":
            faults.append(Fault("", "a $ that binds nothing", "$1 for the subject, or a name such as :plan"))
        elif token.text == "{" or (token.kind == "text" and f"{{{SUBJECT}}}" in token.text):
            given = "a {…} as in an f-string" if token.text == "{" else f"{{{SUBJECT}}} inside a text"
            faults.append(
                Fault("", given, "$1 for the subject or :name for a value of the row: values are bound")
            )
    return faults


def _select(text: str, tokens: list[Token]) -> Select:
    parts: list[str] = []
    binds: list[str] = []
    start = 0
    for token in tokens:
        if token.kind in ("bind", "number_bind"):
            parts.append(text[start : token.start])
            binds.append(token.text[1:] if token.kind == "bind" else SUBJECT)
            start = token.end
    parts.append(text[start : tokens[-1].end])
    return Select(text, tuple(parts), tuple(binds))
