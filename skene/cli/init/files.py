"""The files that `skene init` would write: shown as a diff first, then written, each as a whole."""

import difflib
import os
import stat
import tempfile
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from skene.cli.failing import CommandError

__all__ = ["Change", "Text", "read_text", "replace_file"]

Kind = Literal["create", "edit", "overwrite", "keep"]


@dataclass(frozen=True, slots=True)
class Text:
    """A file's text with bare line feeds, and how it is written: encoding and line ends."""

    text: str
    encoding: str = "utf-8"
    newline: str = "\n"

    def bytes(self, text: str | None = None) -> bytes:
        """The same file, with another text if one is given."""
        return (self.text if text is None else text).replace("\n", self.newline).encode(self.encoding)


def read_text(path: Path) -> Text:
    """Read a file.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        raw = path.read_bytes()
        with path.open("rb") as file:
            encoding = tokenize.detect_encoding(file.readline)[0] if path.suffix == ".py" else "utf-8"
        text = raw.decode(encoding)
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: cannot be read: {error}") from error
    newline = "\r\n" if text.count("\r\n") > text.count("\n") / 2 else "\n"
    return Text(text.replace("\r\n", "\n"), encoding, newline)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a file.

    Attributes:
        path: below the project's folder.
        kind: `create`, `edit` (lines are added), `overwrite` (asked for first), `keep` (left alone).
        before, after: its text; `before` is empty if there is no file.
        content: `after` as it is written.
    """

    path: str
    kind: Kind
    before: str
    after: str
    content: bytes = field(repr=False)

    def diff(self) -> str:
        """A unified diff; empty if nothing changes."""
        new = self.kind == "create"
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            "/dev/null" if new else f"a/{self.path}",
            f"b/{self.path}",
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def change(folder: Path, path: str, text: str, *, edit: bool = False) -> Change:
    """What writing a text would mean.

    Args:
        folder: the project.
        path: below it.
        text: all of the file, with bare line feeds.
        edit: the text is the file's own with lines added, so that nothing is lost by writing it.
    """
    file = folder / path
    if not file.exists():
        return Change(path, "create", "", text, text.encode())
    there = read_text(file)
    if there.text == text:
        return Change(path, "keep", there.text, text, b"")
    return Change(path, "edit" if edit else "overwrite", there.text, text, there.bytes(text))


def check_writable(folder: Path, changes: list[Change]) -> None:
    """Find out before the first file is written whether the last one can be.

    Raises:
        CommandError: with every file that cannot.
    """
    closed: list[str] = []
    for one in changes:
        path = (folder / one.path).resolve()
        if path.exists():
            # Replacing a file asks its folder alone; who made it read-only meant the file.
            if not path.stat().st_mode & stat.S_IWUSR or not os.access(path, os.W_OK):
                closed.append(f"{one.path} is read-only")
        elif not os.access(next(up for up in path.parents if up.exists()), os.W_OK):
            closed.append(f"the folder of {one.path} may not be written to")
    if closed:
        raise CommandError("nothing was written: " + "; ".join(closed))


def replace_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file as a whole: a reader, or a crash, finds the old one or the new one.

    Args:
        path: where; a link is followed.
        content: all of it.
        mode: its permissions; None keeps those of the old file, or takes the usual ones.

    Raises:
        CommandError: it cannot be written.
    """
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}."
        )  # readable by nobody else yet
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, _mode(path) if mode is None else mode)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror or error}") from error


def _mode(path: Path) -> int:
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    usual = os.umask(0)
    os.umask(usual)
    return 0o666 & ~usual
