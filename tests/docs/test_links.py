"""Every link inside the repository leads somewhere, anchors included."""

import pytest

from tests.docs.markdown import PAGES, ROOT, Page, slug


def broken(page: Page) -> list[str]:
    faults: list[str] = []
    for line, target in page.links():
        if target.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.path.parent / path).resolve() if path else page.path
        if not file.is_relative_to(ROOT) or not file.exists():
            faults.append(f"{page.name}:{line}: there is no {target}")
        elif anchor and (file.suffix != ".md" or anchor not in Page(file).anchors()):
            faults.append(f"{page.name}:{line}: {path or page.name} has no #{anchor}")
    return faults


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    assert not broken(Page(path))


def test_every_page_is_in_the_index():
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / target).resolve() for _, target in Page(index).links()}
    missing = [path for path in PAGES if path.parent != ROOT and path not in {*listed, index}]
    assert not missing


def test_the_index_for_assistants_is_the_same() -> None:
    index, short = (ROOT / "docs" / name for name in ("README.md", "llms.txt"))
    parts = [path.read_text().partition("## Tutorial\n") for path in (index, short)]
    assert parts[0][2] == parts[1][2], "copy the lists of docs/README.md to docs/llms.txt"
    assert parts[1][0].startswith("# skene\n\n> ")


def test_broken_links_are_found(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("# A page\n[a](gone.md) [b](#a-page) [c](page.md#gone)\n```text\n[d](gone.md)\n```\n")
    monkeypatch.setattr("tests.docs.test_links.ROOT", tmp_path)
    monkeypatch.setattr("tests.docs.markdown.ROOT", tmp_path)
    assert broken(Page(page)) == ["page.md:2: there is no gone.md", "page.md:2: page.md has no #gone"]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("`trigger.api`", "triggerapi"),
        ("skene db upgrade", "skene-db-upgrade"),
        ("What 30d means", "what-30d-means"),
    ],
)
def test_anchors_are_githubs(heading, anchor):
    assert slug(heading, set()) == anchor
    assert slug(heading, {anchor}) == f"{anchor}-1"
