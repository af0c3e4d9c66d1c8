"""The site that `make docs` builds."""

import re
import shutil
import subprocess
import sys
from importlib import import_module

import pytest

from tests.docs.markdown import ROOT

DOCS = ROOT / "docs"
LISTED = re.compile(r"^\| `(skene[\w.]*)` \|", re.MULTILINE)


def build(source, out):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", source, out]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    built = build(DOCS, out)
    assert built.returncode == 0, built.stderr
    return out


def test_every_page_is_built_without_a_warning(site):
    pages = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    assert [page for page in pages if not (site / page).exists()] == []


def test_every_page_can_be_reached_from_the_first(site):
    first = (site / "README.html").read_text()
    pages = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.rglob("*.md")}
    assert [page for page in pages - {"README.html"} if f'href="{page}"' not in first] == []


def test_docstrings_of_every_module_are_there(site):
    text = (site / "reference" / "python.html").read_text()
    modules = LISTED.findall((DOCS / "reference" / "python.md").read_text())
    assert len(modules) > 10
    for name in modules:
        module = import_module(name)
        described = [one for one in module.__all__ if callable(getattr(module, one))]
        assert [one for one in described if f">{one}<" not in text] == [], name


def test_a_broken_link_is_an_error(tmp_path):
    shutil.copy(DOCS / "conf.py", tmp_path)
    (tmp_path / "README.md").write_text("# A site\n\n[gone](gone.md)\n")
    built = build(tmp_path, tmp_path / "out")
    assert built.returncode != 0
    assert "gone.md" in built.stderr
