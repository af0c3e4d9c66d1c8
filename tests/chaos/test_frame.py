"""The frame of the proofs: how findings become a page, and that every fault has its proof or its reason."""

import ast
import re
from dataclasses import replace

import pytest

from tests.chaos import __main__ as command
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.frame.load import Books
from tests.chaos.frame.page import page
from tests.chaos.frame.results import Run, load, save
from tests.chaos.proof import Proof, at_least, at_most, exactly
from tests.chaos.proofs import PROOFS
from tests.docs.markdown import ROOT, tables

FAULT = Fault("late", "Somebody is late", "others begin", ("tests/test_house.py::test_x",))
BROKEN = exactly("admitted", 108, 100)


async def made_up(trial):
    return [exactly("admitted", 100, 100), at_most("waited", trial.seed / 2, 1.0, " s")]


async def caught(trial):
    return [BROKEN, at_least("calls", 5, 1)]


PROOF = Proof("up", "It is made up.", ("late",), "none", made_up, "by hand", caught)


def run(seed=1, ours=(), control=(BROKEN,), **more):
    return Run(
        "up", seed, ours or (exactly("admitted", 100, 100),), control, {"machine": "a good one"}, **more
    )


def row(*runs):
    return tables(page("# A page", [PROOF], runs, [FAULT]))[0][1]


# -- findings and books ------------------------------------------------------------------------------------


def test_what_is_asked_is_compared_with_what_is_found():
    assert [exactly("x", n, 2).holds for n in (1, 2, 3)] == [False, True, False]
    assert [at_most("x", n, 2).holds for n in (1, 2, 3)] == [True, True, False]
    assert [at_least("x", n, 2).holds for n in (1, 2, 3)] == [False, True, True]
    assert str(BROKEN) == "admitted: 108, exactly 100: BROKEN"


def test_books_tell_refusals_from_what_nobody_knows():
    books = Books()
    for status in (200, 200, 402, 503, 500, 0):
        books.enter("ada", status, 0.5)
    assert (books.yes, books.no, books.unknown, books.slowest) == (2, 1, 3, 0.5)
    assert books.statuses[503] == 1


def test_a_run_holds_if_the_claim_stands_and_the_control_is_caught():
    assert run().holds
    assert not run(ours=(exactly("admitted", 99, 100),)).holds
    assert not run(control=(exactly("admitted", 100, 100),)).holds
    assert not run(control=()).holds
    assert not run(failure="no server").holds
    assert not Run("up", 1, (), (BROKEN,)).holds


# -- the page ----------------------------------------------------------------------------------------------


def test_figures_of_several_seeds_stand_beside_each_other():
    runs = [run(seed, (at_most("waited", seed / 4, 1.0, " s"),)) for seed in (1, 2, 3)]
    claim, numbers, found, control, how = row(*runs)
    assert claim == "It is made up. (`up`)"
    assert (numbers, control) == ("none", "by hand")
    assert found == "waited: 0.25 s · 0.5 s · 0.75 s (at most 1.0 s)"
    assert how == "admitted: **108 · 108 · 108** (exactly 100)"


@pytest.mark.parametrize(
    ("given", "column", "told"),
    [
        (run(ours=(exactly("admitted", 99, 100),)), 2, "**99**"),
        (run(7, failure="RuntimeError: no server"), 2, "**seed 7 came to nothing: RuntimeError: no server**"),
        (run(7, control=(exactly("admitted", 100, 100),)), 4, "**with seed 7 it did not**"),
    ],
)
def test_what_failed_is_not_hidden(given, column, told):
    assert told in row(given)[column]


def test_a_proof_that_was_not_run_is_there_and_says_so():
    assert row()[2] == row()[4] == "not run yet"
    assert row(Run("gone", 1))[2] == "not run yet"


def test_a_fault_names_what_shows_it_or_why_nothing_does():
    told = page("", [PROOF], [], [FAULT, replace(FAULT, key="other", tests=(), why_not="no disk")])
    first, second = tables(told)[1][1:]
    assert first[2] == "`up`<br>`tests/test_house.py::test_x`"
    assert second[2] == "no disk"


# -- the command -------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The command with one made-up proof, whose page and results are elsewhere."""
    monkeypatch.setattr(command, "PROOFS", (PROOF,))
    monkeypatch.setattr(command, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(command, "PAGE", tmp_path / "page.md")
    return tmp_path


def test_what_was_found_reads_back(tmp_path):
    save(run(2), tmp_path)
    save(run(10, failure="no server"), tmp_path)
    save(run(2), tmp_path)
    assert load(tmp_path) == [run(2), run(10, failure="no server")]


def test_each_proof_is_tried_with_each_seed_and_the_page_is_written(kept, capsys):
    assert command.main(["--seeds=1,2"]) == 0
    assert "up, seed 2: holds" in capsys.readouterr().out
    text = (kept / "page.md").read_text()
    assert "waited: 0.5 s · 1 s (at most 1.0 s)" in text
    assert "Seeds, in the order of the figures: 1, 2." in text
    assert re.search(r"Python 3\.\d+.*PostgreSQL \d+", text)
    (kept / "page.md").unlink()
    assert command.main(["--page"]) == 0
    assert (kept / "page.md").read_text() == text


def test_what_does_not_hold_is_counted(kept, capsys):
    assert command.main(["up", "--seeds=1,2,3"]) == 1  # with the third, the wait is too long
    assert "up, seed 3: FAILED" in capsys.readouterr().out


@pytest.mark.parametrize("side", ["ours", "control"])
def test_a_proof_that_comes_to_nothing_fails_alone(kept, monkeypatch, capsys, side):
    async def broken(trial):
        raise RuntimeError("no server")

    other = replace(PROOF, key="other", **{f"try_{side}": broken})
    monkeypatch.setattr(command, "PROOFS", (other, PROOF))
    assert command.main(["--seeds=1"]) == 1
    told = capsys.readouterr()
    assert "it came to nothing: RuntimeError: no server" in told.out
    assert "up, seed 1: holds" in told.out


def test_a_control_that_passes_fails_the_proof(kept, monkeypatch, capsys):
    monkeypatch.setattr(command, "PROOFS", (replace(PROOF, try_control=made_up),))
    assert command.main(["--seeds=1"]) == 1
    assert "control: PASSED" in capsys.readouterr().out


def test_a_short_run_keeps_nothing(kept, capsys):
    assert command.main(["--short", "--seeds=1"]) == 0
    assert not (kept / "kept").exists()
    assert not (kept / "page.md").exists()


@pytest.mark.parametrize("given", [["pu"], ["--seeds="], ["--seeds=1;2"]])
def test_what_makes_no_sense_is_refused(kept, given, capsys):
    with pytest.raises(SystemExit):
        command.main(given)
    assert "error:" in capsys.readouterr().err


# -- what there is -----------------------------------------------------------------------------------------


def test_keys_are_unique():
    assert len({proof.key for proof in PROOFS}) == len(PROOFS)
    assert len({fault.key for fault in FAULTS}) == len(FAULTS)


def test_proofs_name_faults_that_are_listed():
    assert {key for proof in PROOFS for key in proof.faults} <= {fault.key for fault in FAULTS}
    assert all(proof.faults for proof in PROOFS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
def test_a_fault_is_shown_or_says_why_not(fault):
    shown = [proof.key for proof in PROOFS if fault.key in proof.faults]
    assert bool(fault.tests or shown) != bool(fault.why_not)
    missing = [test for test in fault.tests if not exists(test)]
    assert not missing


def exists(test):
    file, _, name = test.partition("::")
    path = ROOT / file
    if not path.is_file():
        return False
    defined = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(n, defined) and n.name == name for n in ast.walk(ast.parse(path.read_text())))


def test_a_test_that_is_not_there_is_found():
    assert exists("tests/test_house.py::test_a_long_function_is_found")
    assert not exists("tests/test_house.py::test_a_short_function_is_found")
    assert not exists("tests/test_hut.py::test_a_long_function_is_found")


def test_the_page_has_every_proof_and_every_fault():
    wanted = tables(page(command.HEAD.read_text(encoding="utf-8"), PROOFS, [], FAULTS))
    shown = tables((ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8"))
    assert [(cells[0], cells[1], cells[3]) for cells in shown[0]] == [
        (cells[0], cells[1], cells[3]) for cells in wanted[0]
    ]
    assert shown[1] == wanted[1]
