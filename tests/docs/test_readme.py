"""The README's screen of code is the example's, which tests of its own run."""

import pytest

from tests.docs.markdown import ROOT, Page

EXAMPLE = ROOT / "examples" / "freemium"
README = Page(ROOT / "README.md")
SHOWN = {f.file: f.body for f in README.fences() if f.language == "python" and f.file}


def parts(body: str) -> list[str]:
    """What is shown of a file, without its name; `...` stands for what is left out."""
    text = body.split("\n", 1)[1]
    return [part.strip("\n") for part in f"\n{text}\n".split("\n...\n") if part.strip("\n")]


def in_order(shown: list[str], file: str) -> str | None:
    """The first part that is not there, or not in its place; None if all are."""
    at = 0
    for part in shown:
        at = file.find(f"\n{part}\n", at)
        if at < 0:
            return part
        at += len(part)
    return None


def test_the_screen_of_code_is_there():
    assert list(SHOWN) == ["skene_config.py", "app.py", "test_app.py"]


@pytest.mark.parametrize("name", SHOWN)
def test_it_is_the_examples(name):
    file = "\n" + (EXAMPLE / name).read_text()
    assert in_order(parts(SHOWN[name]), file) is None


def test_the_configuration_is_whole():
    assert SHOWN["skene_config.py"] == "# skene_config.py\n" + (EXAMPLE / "skene_config.py").read_text()


def test_the_loop_that_begins_with_a_row_is_the_other_examples():
    shown = [fence.body for fence in README.fences() if "trigger.database" in fence.body]
    file = (ROOT / "examples" / "activation" / "skene_config.py").read_text()
    assert len(shown) == 1
    assert shown[0].partition("\n\n")[2] in file


def test_a_difference_is_found():
    body = SHOWN["app.py"]
    file = "\n" + (EXAMPLE / "app.py").read_text()
    assert in_order(parts(body.replace("summarise", "summarize")), file)
    assert in_order(list(reversed(parts(body))), file)


def test_the_two_commands_are_the_makefiles():
    makefile = (ROOT / "Makefile").read_text()
    for command in ("demo", "test"):
        assert f"$ make {command}\n" in README.text
        assert f"\n{command}:" in makefile
