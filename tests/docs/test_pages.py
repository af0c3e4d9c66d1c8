"""What the pages show is run, and prints what they say."""

import shutil

import pytest

from tests.docs.markdown import PAGES, ROOT, Page
from tests.docs.running import NOT_RUN, Run, commands, matches

LANGUAGES = {"python", "console", "text", "json", "ini", "toml", "jinja", "sql", "html"}
EXAMPLE = ROOT / "examples" / "freemium"
SHOWN = [path for path in PAGES if any(f.language in ("python", "console") for f in Page(path).fences())]


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_works_as_shown(path, tmp_path):
    page = Page(path)
    given = frozenset[str]()
    if path.parent == ROOT:  # the README shows parts of the example; see test_readme.py
        shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        given = frozenset(file.name for file in EXAMPLE.iterdir())
    Run(page, tmp_path, given).run()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_fences_say_what_they_are(path):
    wrong = [f"{f.line}: {f.info!r}" for f in Page(path).fences() if f.language not in LANGUAGES]
    assert not wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_of_skene_are_never_left_out(path):
    left_out = [
        command
        for fence in Page(path).fences()
        if fence.language == "console"
        for command, _ in commands(fence.body)
        if command.startswith(NOT_RUN) and "skene " in command.replace("skene-sdk", "")
    ]
    assert not left_out


def a_page(folder, *fences):
    page = folder / "page.md"
    page.write_text("# A page\n\n" + "\n\n".join(fences) + "\n")
    return Page(page)


@pytest.mark.parametrize(
    "fence",
    [
        "```python\nassert 1 == 2\n```",
        "```python\nimport skene.nothing\n```",
        "```python\n# broken.py\ndef (:\n```",
        "```console\n$ echo one\ntwo\n```",
        "```console\n$ skene nothing\ndone\n```",
    ],
)
def test_a_page_that_is_wrong_fails(tmp_path, monkeypatch, fence):
    monkeypatch.setattr("tests.docs.markdown.ROOT", tmp_path)
    with pytest.raises((AssertionError, ImportError, SyntaxError)):
        Run(a_page(tmp_path, fence), tmp_path).run()


def test_fences_share_names_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.markdown.ROOT", tmp_path)
    page = a_page(
        tmp_path,
        "```python\nx = 1\n\nasync def f():\n    return x\n```",
        "```python\n# made.py\nY = 1\n```",
        "```python\n# made.py, continued\nY += 1\n```",
        "```python\nimport made\n\nassert await f() + made.Y == 3\n```",
        "```console\n$ echo $(cat made.py | wc -l) lines; echo more\n4 …\n…\n```",
    )
    Run(page, tmp_path).run()


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("", "anything", True),
        ("a b", "a b\n", True),
        ("a …", "a 12:30", True),
        ("a …", "a\n", False),
        ("a\n…\nd", "a\nb\nc\nd\n", True),
        ("a\n…", "a\n", True),
        ("a", "a\nb\n", False),
    ],
)
def test_output_is_compared(expected, printed, same):
    assert matches(expected, printed) is same


def test_the_pages_work_without_curl(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("tests.docs.markdown.ROOT", tmp_path)
    page = a_page(
        tmp_path,
        "```python\n# app.py\nfrom fastapi import FastAPI\n\napp = FastAPI()\n```",
        "```console\n$ uvicorn app:app\n```",
        "```console\n$ curl -i -X POST http://localhost:8000/ -H 'X-User: ada' -s\n"
        'HTTP/1.1 404 Not Found\n…\n\n{"detail":"Not Found"}\n'
        "$ curl -X POST http://localhost:8000/ -s -o /dev/null -w '%{http_code}\\n'\n404\n```",
    )
    Run(page, tmp_path).run()
