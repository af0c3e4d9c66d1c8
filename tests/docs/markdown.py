"""Reads the Markdown of README.md and docs/: fences, headings, links, tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^( *)(```+)(.*)$")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$")
_LINK = re.compile(r"(?<!!)\[(?:[^\]`]|`[^`]*`)*\]\(([^)\s]+)\)")
_ANCHOR = re.compile(r'<a (?:id|name)="([^"]+)">')
_TITLE = re.compile(r'title="([^"]+)"')
_FILE = re.compile(r"^# ([\w./-]+\.\w+)(?:,.*)?$")


@dataclass(frozen=True)
class Fence:
    """A fenced block: `file` is the name it gives itself, `line` where its body begins."""

    language: str
    info: str
    body: str
    line: int

    @property
    def file(self) -> str | None:
        title = _TITLE.search(self.info)
        if title:
            return title[1]
        first = _FILE.match(self.body.split("\n", 1)[0])
        return first[1] if first else None


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def fences(self) -> Iterator[Fence]:
        opened: tuple[str, str, int] | None = None
        body: list[str] = []
        for number, line in enumerate(self.text.splitlines(), 1):
            mark = _FENCE.match(line)
            if opened is None and mark:
                opened, body = (mark[1], mark[3].strip(), number + 1), []
            elif opened is not None and mark and not mark[3].strip():
                indent, info, at = opened
                text = "\n".join(entry.removeprefix(indent) for entry in body) + "\n"
                yield Fence(info.split(" ", 1)[0], info, text, at)
                opened = None
            elif opened is not None:
                body.append(line)
        assert opened is None, f"{self.name}:{opened[2] - 1}: a fence is never closed"

    def prose(self) -> str:
        """The page without its fences, line for line."""
        lines, inside = [], False
        for line in self.text.splitlines():
            fence = bool(_FENCE.match(line))
            lines.append("" if inside or fence else line)
            inside ^= fence
        return "\n".join(lines)

    def anchors(self) -> set[str]:
        """What `#…` may name: headings as GitHub spells them, and explicit anchors."""
        found: set[str] = set(_ANCHOR.findall(self.prose()))
        for line in self.prose().splitlines():
            heading = _HEADING.match(line)
            if heading:
                found.add(slug(heading[1], found))
        return found

    def links(self) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(self.prose().splitlines(), 1):
            for target in _LINK.findall(line):
                yield number, target

    def section(self, heading: str) -> str:
        """The text below a heading, up to the next of any level."""
        lines = self.prose().splitlines()
        starts = [n for n, line in enumerate(lines) if (m := _HEADING.match(line)) and m[1] == heading]
        assert len(starts) == 1, f"{self.name} has {len(starts)} headings {heading!r}"
        rest = lines[starts[0] + 1 :]
        end = next((n for n, line in enumerate(rest) if _HEADING.match(line)), len(rest))
        return "\n".join(rest[:end])


def slug(heading: str, taken: set[str]) -> str:
    """GitHub's anchor for a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    base = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
    number, made = 0, base
    while made in taken:
        number += 1
        made = f"{base}-{number}"
    return made


def tables(text: str) -> list[list[list[str]]]:
    """The tables in a text: rows of cells, without the line of dashes."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                found[-1].append(cells)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]
