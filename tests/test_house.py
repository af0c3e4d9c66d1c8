"""The rules of CONTRIBUTING.md that no linter knows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    path
    for folder in ("skene", "tests", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "__pycache__" not in path.parts
]
FILE_LINES = 400
FUNCTION_LINES = 60
# An ignore names what it switches off, and says why beside it.
IGNORE = re.compile(
    r"# *(?:noqa|type: ignore|pyright: ignore)\b"
    r"(?P<codes>(?:: *[A-Z]+\d+(?:, *[A-Z]+\d+)*|\[.*?\])?)"
    r"(?P<why>.*)"
)


def long_functions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"line {node.lineno}: {node.name} has {lines} lines; {FUNCTION_LINES} are allowed"


def unexplained_ignores(source: str) -> Iterator[str]:
    for number, line in enumerate(source.splitlines(), 1):
        ignore = IGNORE.search(line)
        if ignore and not (ignore["codes"] and re.search("[a-z]{2}", ignore["why"])):
            yield f"line {number}: name what is ignored and say why: {line.strip()}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_keeps_the_house_rules(path: Path) -> None:
    source = path.read_text()
    faults = list(long_functions(source))
    if path != Path(__file__).resolve():  # it shows ignores of every kind below
        faults += unexplained_ignores(source)
    lines = source.count("\n")
    if lines > FILE_LINES:
        faults.append(f"{lines} lines; {FILE_LINES} are allowed")
    assert not faults, "\n".join(faults)


def test_a_long_function_is_found() -> None:
    body = "    pass\n" * FUNCTION_LINES
    assert [*long_functions(f"async def f():\n{body}")] == ["line 1: f has 61 lines; 60 are allowed"]
    assert not [*long_functions(f"def f():\n{body[9:]}")]


@pytest.mark.parametrize(
    ("line", "fine"),
    [
        ("x = 1  # noqa", False),
        ("x = 1  # noqa: S608", False),
        ("x = 1  # noqa: S608, E501", False),
        ("x = 1  # noqa: S608 - the table's name is ours", True),
        ("x = 1  # noqa: S608 # the table's name is ours", True),
        ("x = 1  # type: ignore", False),
        ("x = 1  # type: ignore[arg-type, misc]", False),
        ("x = 1  # type: ignore[arg-type]  # the point of the test", True),
        ("x = 1  # pyright: ignore[reportPrivateUsage]", False),
        ("x = 1  # pyright: ignore[reportPrivateUsage] - no public way", True),
        ("x = 1  # the value", True),
    ],
)
def test_an_ignore_without_a_reason_is_found(line: str, fine: bool) -> None:
    assert (not [*unexplained_ignores(line)]) == fine
