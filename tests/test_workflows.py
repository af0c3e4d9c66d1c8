"""What the hosted checks run, they run with nothing that can be changed under them and no right to write."""

import re
from pathlib import Path

import pytest

from tests.support.processes import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def faults(text: str) -> list[str]:
    """What is not pinned, or may write."""
    used = [line.partition("uses:")[2].strip() for line in text.splitlines() if "uses:" in line]
    loose = [one for one in used if not PINNED.fullmatch(one)]
    rights = re.findall(r"^ +([\w-]+: (?:write|write-all|admin))$", text, re.MULTILINE)
    closed = [] if re.search(r"^permissions: \{\}$", text, re.MULTILINE) else ["no rights are taken away"]
    # A stranger's text in a script is a stranger's script.
    told = re.findall(r"\$\{\{ *github\.(?:event|head_ref)[\w.]*(?<!event_name) *\}\}", text)
    return [*loose, *rights, *closed, *told]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_pinned_and_writes_nowhere(path: Path) -> None:
    assert faults(path.read_text()) == []


def test_there_is_one_and_it_runs_what_contributors_run() -> None:
    (path,) = WORKFLOWS
    text = path.read_text()
    assert text.count("bash .ci/run") == 2
    assert [version for version in ("3.11", "3.12", "3.13", "3.14") if f'"{version}"' not in text] == []


def test_what_is_loose_is_found() -> None:
    """The control."""
    text = "\n".join(
        [
            "permissions:",
            "  contents: write",
            "      - uses: actions/checkout@v5",
            "      - uses: actions/checkout@08c6903 # v5.0.0",
            "      - run: echo ${{ github.event.issue.title }}",
        ]
    )
    assert len(faults(text)) == 5
