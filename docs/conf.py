"""How `make docs` builds the site: these pages, and what there is to import from its docstrings."""

import logging
import re
from importlib.metadata import version as installed
from typing import Any

import fastapi  # before autodoc does, which imports as type checkers do, and that FastAPI does not bear

assert fastapi
logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every plugin

project = "skene"
author = copyright = "the skene contributors"  # noqa: A001 - Sphinx's name for it
version = release = installed("skene-sdk")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
exclude_patterns = ["conf.py"]
html_theme = "furo"
html_title = "skene"

myst_heading_anchors = 4  # links to headings, as the hosts of repositories make them
default_role = "literal"  # what docstrings set in single backticks
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False

INDEX, PYTHON = "README", "reference/python"
ELSEWHERE = re.compile(r"\[([^]]+)]\((?:\.\./)+(?:examples|skene|tests)[^)]*\)")
ANCHOR = re.compile(r'^<a id="([\w-]+)"></a>', re.MULTILINE)
SECTION = re.compile(r"^## (.+)\n((?:.|\n)*?)(?=^## |\Z)", re.MULTILINE)
PAGE = re.compile(r"^- \[[^]]+]\(([\w/-]+)\.md\)", re.MULTILINE)
MODULE = re.compile(r"^\| `(skene[\w.]*)` \|", re.MULTILINE)


def adapt(app: Any, page: str, source: list[str]) -> None:
    """Make of a page that repositories show one that Sphinx does."""
    text = ELSEWHERE.sub(r"\1", source[0])  # the site has no such folders
    text = ANCHOR.sub(r"(\1)=\n", text)
    text = text.replace("```sql\n", "```postgresql\n")
    if page == INDEX:
        text += "".join(map(_contents, SECTION.finditer(text)))
    if page == PYTHON:
        text += "".join(map(_docstrings, MODULE.findall(text)))
    source[0] = text


def _contents(section: re.Match[str]) -> str:
    pages = "\n".join(PAGE.findall(section[2]))
    return f"\n```{{toctree}}\n:hidden:\n:caption: {section[1]}\n\n{pages}\n```\n"


def _docstrings(module: str) -> str:
    options = "   :members:\n   :imported-members:\n"
    return f"\n## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n{options}```\n"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", adapt)
