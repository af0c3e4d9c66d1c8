"""Type checkers find nothing wrong with a correct configuration, and every mistake in a wrong one."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GOOD = HERE / "good_config.py"
BAD = HERE / "bad_config.py"
MISTAKES = {
    number: found[1]
    for number, line in enumerate(BAD.read_text(encoding="utf-8").splitlines(), start=1)
    if (found := re.search(r"# mistake: (\w+)", line))
}


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def mypy() -> list[tuple[str, int, str]]:
    """The errors of one run of mypy over both files: file, line, message."""
    out = run(
        "mypy", "--strict", "--no-error-summary", "--hide-error-context", "--no-pretty", str(GOOD), str(BAD)
    )
    found = re.findall(r"^.*?(\w+\.py):(\d+): error: (.*)$", out, re.MULTILINE)
    named = {(file, line) for file, line, message in found if message.startswith("Unexpected keyword")}
    return [
        (file, int(line), message)
        for file, line, message in found
        # An unknown keyword of an overloaded function is said twice, the second time without its name.
        if not (message.startswith("No overload variant") and (file, line) in named)
    ]


@pytest.fixture(scope="module")
def pyright() -> list[tuple[str, int, str]]:
    """The errors of one run of pyright over both files: file, line, the text it points at."""
    found = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable, str(GOOD), str(BAD)))
    errors: list[tuple[str, int, str]] = []
    for one in found["generalDiagnostics"]:
        if one["file"] == str(BAD) and one["rule"].startswith("reportUnknown"):
            continue  # what follows from a mistake is no mistake of its own
        start, end = one["range"]["start"], one["range"]["end"]
        line = Path(one["file"]).read_text(encoding="utf-8").splitlines()[start["line"]]
        errors.append(
            (Path(one["file"]).name, start["line"] + 1, line[start["character"] : end["character"]])
        )
    return errors


def test_a_correct_configuration_runs() -> None:
    assert runpy.run_path(str(GOOD))["freemium"].key == "freemium"


def test_mypy_accepts_a_correct_configuration(mypy: list[tuple[str, int, str]]) -> None:
    assert [error for error in mypy if error[0] != BAD.name] == []


def test_mypy_finds_every_mistake_and_names_it(mypy: list[tuple[str, int, str]]) -> None:
    messages = [(line, message) for file, line, message in mypy if file == BAD.name]
    for number, name in MISTAKES.items():
        # mypy reports an unknown keyword at the line of its call, and names it.
        assert any(number == line or f'keyword argument "{name}"' in message for line, message in messages), (
            name
        )
    assert len(messages) == len(MISTAKES)


def test_pyright_accepts_a_correct_configuration(pyright: list[tuple[str, int, str]]) -> None:
    assert [error for error in pyright if error[0] != BAD.name] == []


def test_pyright_points_at_every_mistake(pyright: list[tuple[str, int, str]]) -> None:
    pointed = {line: text for file, line, text in pyright if file == BAD.name}
    assert set(pointed) == set(MISTAKES)
    for name in ("methods", "upgradePrompt", "retrys", "colums", "cooldwn", "url"):
        assert name in pointed.values()
    # Where a function is overloaded, pyright points at the whole call.
    assert any(text.startswith("condition.usage(limt=") for text in pointed.values())


Span = tuple[int, int]
"""The lines that an error is about, first and last."""


@pytest.fixture(scope="module")
def ty() -> list[tuple[str, Span, str]]:
    """The errors of one run of ty over both files: file, lines, rule."""
    out = run("ty", "check", "--output-format", "gitlab", "--python", sys.executable, str(GOOD), str(BAD))
    errors: list[tuple[str, Span, str]] = []
    for one in json.loads(out):
        place = one["location"]
        lines = place["positions"]["begin"]["line"], place["positions"]["end"]["line"]
        errors.append((Path(place["path"]).name, lines, one["check_name"]))
    return errors


@pytest.fixture(scope="module")
def pyrefly() -> list[tuple[str, Span, str]]:
    """The same of pyrefly, at its strictest named setting; it takes none from mypy's."""
    interpreter = ("--python-interpreter-path", sys.executable, "--preset", "strict")
    out = run("pyrefly", "check", *interpreter, "--output-format", "json", str(GOOD), str(BAD))
    return [
        (Path(one["path"]).name, (one["line"], one["stop_line"]), one["name"])
        for one in json.loads(out)["errors"]
    ]


def test_ty_accepts_a_correct_configuration(ty: list[tuple[str, Span, str]]) -> None:
    assert [error for error in ty if error[0] != BAD.name] == []


def test_ty_points_at_every_mistake(ty: list[tuple[str, Span, str]]) -> None:
    assert_found([lines for file, lines, _ in ty if file == BAD.name])


def test_pyrefly_accepts_a_correct_configuration(pyrefly: list[tuple[str, Span, str]]) -> None:
    assert [error for error in pyrefly if error[0] != BAD.name] == []


def test_pyrefly_points_at_every_mistake(pyrefly: list[tuple[str, Span, str]]) -> None:
    assert_found([lines for file, lines, _ in pyrefly if file == BAD.name])


def assert_found(spans: list[Span]) -> None:
    """Each mistake has an error of its own: where a list or a call is wrong, that is the whole of it."""
    found = [[line for line in MISTAKES if first <= line <= last] for first, last in spans]
    assert [spans[place] for place, lines in enumerate(found) if len(lines) != 1] == []
    assert sorted(lines[0] for lines in found) == sorted(MISTAKES)


def test_a_mistake_that_nobody_finds_is_noticed() -> None:
    lines = sorted(MISTAKES)
    assert_found([(line, line) for line in lines])
    for wrong in (lines[1:], [*lines, lines[0]], [1, *lines[1:]]):
        with pytest.raises(AssertionError):
            assert_found([(line, line) for line in wrong])
