"""The frame of the benchmarks: how rounds become ratios, and ratios a page. Nothing here is timed."""

import re
import statistics
import sys
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.benchmarks import __main__ as command
from tests.benchmarks.bars import BARS, GROUPS
from tests.benchmarks.contestants.gate import Gate, Miscounted, check, turn_of
from tests.benchmarks.frame.callers import call_for, hot, uniform
from tests.benchmarks.frame.measuring import Heat, Spread, percentile, run_heat
from tests.benchmarks.frame.options import Options, Outcome, compared
from tests.benchmarks.frame.page import number, page, shown
from tests.benchmarks.frame.results import Bar, Result, Section, Table, load, save
from tests.docs.markdown import ROOT, Page, tables

ONE = Bar("speed", "made_up", "ours ÷ theirs", "at least", 2)
HEADINGS = {"made_up": "Made up"}


def rates(**turns):
    return Heat({name: [{"rate": rate} for rate in given] for name, given in turns.items()})


def written(bar=ONE, result=None, notes=None, **section):
    results = [result] if result else []
    sections = (
        {"made_up": Section("made_up", {"rounds": "3"}, results, **section)} if result or section else {}
    )
    return page("# A page", [bar], HEADINGS, sections, notes or {})


def row(text):
    return tables(text)[0][1]


# -- rounds and ratios -------------------------------------------------------------------------------------


async def test_everybody_has_a_turn_in_every_round_and_nobody_always_the_first():
    order = []

    def contestant(name):
        async def turn():
            order.append(name)
            return {"rate": len(order)}

        return turn

    heat = await run_heat({name: contestant(name) for name in "abc"}, 3)
    assert "".join(order) == "abc" + "bca" + "cab"
    assert [turn["rate"] for turn in heat.turns["a"]] == [1, 6, 8]


def test_what_is_compared_was_measured_in_the_same_round():
    ours, theirs = (200, 20, 25), (100, 10, 50)  # the machine is slow, and quick again
    heat = rates(ours=ours, theirs=theirs)
    assert heat.ratio("ours", "theirs", "rate") == Spread(2, 0.5, 2, 3)
    assert heat.difference("ours", "theirs", "rate") == Spread(10, -25, 100, 3)
    # The control: what comes of comparing medians, which are of different rounds.
    assert statistics.median(ours) / statistics.median(theirs) == 0.5


def test_what_was_not_measured_has_no_ratio():
    heat = rates(ours=[1.0])
    assert heat.figure("ours", "rate") == Spread(1, 1, 1, 1)
    assert heat.ratio("ours", "theirs", "rate") is None
    assert heat.ratio("ours", "ours", "p50") is None
    assert heat.difference("ours", "theirs", "rate") is None
    assert heat.figure("theirs", "rate") is None
    with pytest.raises(ValueError, match="no round"):
        Spread.of([])


@pytest.mark.parametrize(("share", "value"), [(0, 1), (0.5, 51), (0.99, 100), (1, 100)])
def test_percentiles(share, value):
    assert percentile([*range(100, 0, -1)], share) == value


# -- callers -----------------------------------------------------------------------------------------------


class Counter:
    """Admits every second call; keeps how many were inside at once."""

    def __init__(self, forgets=False):
        self.units = self.inside = self.most = self.calls = 0
        self.forgets = forgets

    async def call(self, subject):
        self.calls += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        admitted = self.calls % 2 == 0
        await checkpoint()
        self.units += admitted and not (self.forgets and self.calls > 10)
        self.inside -= 1
        return admitted

    async def counted(self):
        return self.units

    def gate(self):
        return Gate("counter", self.call, self.counted)


async def test_callers_make_one_call_at_a_time_each_and_as_many_as_they_are_told():
    counter = Counter()
    calls = await call_for(60, 4, counter.call, hot(), at_most=100)
    assert (counter.calls, counter.most, calls.admitted, len(calls.took)) == (100, 4, 50, 100)
    figures = calls.figures()
    assert figures["rate"] == pytest.approx(100 / calls.seconds)
    assert 0 < figures["p50"] <= figures["p99"]


async def test_callers_stop_when_their_time_is_over():
    with anyio.fail_after(30):
        assert len((await call_for(0.05, 2, Counter().call, uniform(10))).took) > 0


def test_subjects_are_drawn_from_all_of_them():
    few, many = uniform(3), uniform(200_000)
    assert {next(few) for _ in range(100)} == {"user-1", "user-2", "user-3"}
    assert len({next(many) for _ in range(1000)}) > 950


@pytest.mark.parametrize("forgets", [False, True])
async def test_a_contestant_that_counts_something_else_than_it_admits_fails_the_run(forgets):
    counter = Counter(forgets)
    gate = counter.gate()
    await turn_of(gate, 3, 0.05, hot())()
    await turn_of(gate, 1, 0.05, hot())()
    assert gate.admitted > 10
    if not forgets:
        await check([gate])
        return
    with pytest.raises(Miscounted, match=f"counter admitted {gate.admitted} and counted {counter.units}"):
        await check([gate])


# -- the page ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sense", "rounds", "met"),
    [
        ("at least", (1.9, 2, 3), True),
        ("at least", (1.9, 1.99, 3), False),
        ("at most", (1.9, 2, 3), True),
        ("at most", (1.9, 2.01, 3), False),
        ("exactly", (2, 2, 2), True),
        ("exactly", (2, 2, 3), False),
        ("exactly", (1, 2, 2), False),
    ],
)
def test_whether_a_bar_is_met(sense, rounds, met):
    bar = replace(ONE, sense=sense)
    text = written(bar, Result("speed", Spread.of(rounds)))
    assert bar.met(Spread.of(rounds)) is met
    assert row(text)[5] == ("met" if met else "**missed** ([why](#speed))")
    assert ("Not explained yet." in text) is not met


def test_a_row_tells_what_was_asked_and_what_came_of_it():
    text = written(result=Result("speed", Spread(2.345, 2, 1234, 5)))
    assert row(text) == ["ours ÷ theirs", "at least 2×", "2.35×", "2 – 1,230", "5", "met"]
    assert "rounds 3." in text


def test_a_missed_bar_is_explained_below(tmp_path):
    text = written(result=Result("speed", Spread(1, 1, 1, 5)), notes={"speed": "The disk is slow.\n"})
    path = tmp_path / "page.md"
    path.write_text(text)
    assert "speed" in Page(path).anchors()
    assert "The disk is slow." in text
    assert "Not explained yet" not in text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "not measured yet"),
        ({"result": Result("speed", None, "not run: there is no pgbench")}, "not run: there is no pgbench"),
        ({"failure": "it ended with 1"}, "the run failed"),
    ],
)
def test_a_row_without_a_number_is_there_and_says_why(given, told):
    text = written(**given)
    assert row(text)[2:] == ["–", "–", "–", told]
    assert "## Made up" in text
    assert given.get("failure", "") in text


def test_a_note_about_no_row_is_refused():
    with pytest.raises(ValueError, match="notes about no row: sped"):
        written(notes={"sped": "?"})


def test_figures_stand_beside_the_rows():
    heat = rates(ours=[3000, 2000], theirs=[1000, 1000], silent=[])
    table = compared("Calls", "Two rounds.", heat, base="theirs", figures={"rate": "calls/s"}, ratio="rate")
    text = written(result=Result("speed", Spread(2, 2, 2, 2)), tables=[table])
    assert "### Calls\n\nTwo rounds.\n" in text
    assert tables(text)[1] == [
        ["", "calls/s", "÷ theirs (lowest–highest)"],
        ["ours", "2,500", "2.5 (2–3)"],
        ["theirs", "1,000", "1 (1–1)"],
        ["silent", "–", "–"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (2.345, "2.35"), (345.6, "346"), (999.9, "1,000"), (123456, "123,000")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_a_spread_with_its_unit():
    assert shown(Spread(2, 1, 3, 5), " ms") == "2 ms (1–3)"
    assert shown(None) == "–"


# -- the command -------------------------------------------------------------------------------------------


def test_what_was_measured_reads_back(tmp_path):
    section = Section(
        "made_up",
        {"machine": "a good one"},
        [Result("speed", Spread(2, 1, 3, 5)), Result("size", None, "no disk")],
        [Table("T", "about it", ["a", "b"], [["1", "2"]])],
    )
    assert load(save(section, tmp_path / "new")) == section
    assert load(save(replace(section, failure="no server"), tmp_path / "new")).failure == "no server"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The command with one made-up group, whose page and results are elsewhere."""
    numbers = count(1)

    async def run(options):
        async def turn():
            return {"rate": next(numbers)}

        heat = await run_heat({"ours": turn, "theirs": turn}, options.rounds, options.tell)
        return Outcome([Result("speed", heat.ratio("theirs", "ours", "rate"))], [], {"Disk": "fast"})

    module = SimpleNamespace(PACKAGES=("anyio", "no-such-package"), run=run)
    monkeypatch.setitem(sys.modules, "tests.benchmarks.groups.made_up", module)
    monkeypatch.setattr(command, "BARS", (ONE,))
    monkeypatch.setattr(command, "GROUPS", HEADINGS)
    monkeypatch.setattr(command, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(command, "NOTES", tmp_path)
    monkeypatch.setattr(command, "PAGE", tmp_path / "page.md")
    return tmp_path


def test_a_group_is_measured_kept_and_written(kept, capsys):
    lines = []
    command.run_here("made_up", Options(rounds=3, tell=lines.append))
    assert len(lines) == 6
    assert "speed: 1.2 × (0.75 – 2), at least 2: MISSED" in capsys.readouterr().out
    (kept / "speed.md").write_text("It is made up.")
    assert command.main(["--page"]) == 0
    text = (kept / "page.md").read_text()
    assert row(text)[:4] == ["ours ÷ theirs", "at least 2×", "1.2×", "0.75 – 2"]
    assert "It is made up." in text
    assert re.search(r"anyio \d.*no-such-package not installed.*Disk fast, rounds 3, turns of 2.5 s", text)


def test_a_quick_run_shows_its_numbers_and_keeps_none(kept, capsys):
    command.run_here("made_up", Options(rounds=2, quick=True))
    assert "Disk fast" in capsys.readouterr().out
    assert not (kept / "kept").exists()


def test_a_group_that_fails_is_told_on_the_page(kept, monkeypatch, capsys):
    # Another process runs a group, and there is no such one.
    assert command.main(["made_up"]) == 1
    assert "made_up: FAILED" in capsys.readouterr().out
    assert row((kept / "page.md").read_text())[5] == "the run failed"


@pytest.mark.parametrize("given", [["made_pu"], ["--rounds=0"], ["--seconds=0"]])
def test_what_makes_no_sense_is_refused(kept, given, capsys):
    with pytest.raises(SystemExit):
        command.main(given)
    assert "error:" in capsys.readouterr().err


# -- what there is -----------------------------------------------------------------------------------------


def test_every_bar_belongs_to_a_group_that_is_there():
    groups = {path.stem for path in (ROOT / "tests" / "benchmarks" / "groups").glob("*.py")}
    assert len({bar.key for bar in BARS}) == len(BARS)
    assert {bar.group for bar in BARS} == set(GROUPS)
    assert set(GROUPS) <= groups


def test_the_page_has_every_bar_and_its_notes_fit():
    head = command.HEAD.read_text(encoding="utf-8")
    notes = {path.stem: "…" for path in command.NOTES.glob("*.md")}
    wanted = tables(page(head, BARS, GROUPS, {}, notes))[0]  # refuses notes about no row
    shown_there = tables((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"))[0]
    assert [cells[:2] for cells in shown_there] == [cells[:2] for cells in wanted]
