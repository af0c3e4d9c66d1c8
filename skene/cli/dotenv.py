"""Sets variables in a `.env` file: other lines and comments stay, and nobody else may read it."""

import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from skene.cli.failing import CommandError
from skene.cli.init.files import Text, read_text, replace_file

__all__ = ["PRIVATE", "read_values", "set_values", "with_values"]

PRIVATE = 0o600
_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)


def read_values(path: Path, *, interpolate: bool = False) -> dict[str, str]:
    """The variables of a file, as they are written or with `${…}` filled in; none if there is no file."""
    from dotenv import dotenv_values

    found = dotenv_values(path, interpolate=interpolate) if path.exists() else {}
    return {name: value for name, value in found.items() if value is not None}


def set_values(path: Path, values: Mapping[str, str]) -> None:
    """Set variables, all at once, and make the file readable by its owner alone.

    Args:
        path: the file; made if it is not there.
        values: one line each.

    Raises:
        CommandError: the file cannot be read or written, or a value cannot stand in it.
    """
    for name, value in values.items():
        if re.search(r"[\r\n\0]", value):
            raise CommandError(f"{name}: got a value of several lines; give one line")
    there = read_text(path) if path.exists() else Text("")
    replace_file(path, there.bytes(with_values(there.text, values)), mode=PRIVATE)


def with_values(text: str, values: Mapping[str, str]) -> str:
    """The text of a file with variables set: where they stand, else at the end."""
    from dotenv.parser import parse_stream

    made, left = "", dict(values)
    for binding in parse_stream(StringIO(text)):
        original = binding.original.string
        if binding.key is not None and binding.key in values and not binding.error:
            left.pop(binding.key, None)
            before = original[: len(original) - len(original.lstrip())]
            export = "export " if re.match(r"\s*export\s", original) else ""
            original = f"{before}{export}{_line(binding.key, values[binding.key])}"
        made += original
    if left and made and not made.endswith("\n"):
        made += "\n"
    return made + "".join(_line(name, value) for name, value in left.items())


def _line(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return f"{name}={value}\n"
    # Single quotes: no $ in it is a variable.
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'\n"
