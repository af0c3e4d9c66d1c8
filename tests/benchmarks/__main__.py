"""`python -m tests.benchmarks [GROUP …]`: measures groups, each in its own process, and writes the page."""

import argparse
import importlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import anyio

from tests.benchmarks.bars import BARS, GROUPS
from tests.benchmarks.frame.machine import ROOT, circumstances
from tests.benchmarks.frame.options import Options
from tests.benchmarks.frame.page import number, page
from tests.benchmarks.frame.results import Section, load, save

KEPT = ROOT / ".benchmarks"
"""What was measured last, by group, so that the page can be written again without measuring all of it."""
PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = Path(__file__).with_name("head.md")
NOTES = Path(__file__).with_name("notes")
"""`<key>.md`: what is to be said of a row, such as why it is missed."""


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all if left out")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant (5)")
    parser.add_argument("--seconds", type=float, default=2.5, help="how long a turn lasts (2.5)")
    parser.add_argument("--quick", action="store_true", help="show that everything runs; nothing is kept")
    parser.add_argument("--full", action="store_true", help="with the rows over 10,000,000 subjects")
    parser.add_argument(
        "--page", action="store_true", help="write the page from what was kept, and measure nothing"
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in this very process
    chosen = parser.parse_args(given)
    unknown = [group for group in chosen.groups if group not in GROUPS]
    if unknown:
        parser.error(f"no group is called {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    if chosen.rounds < 1 or chosen.seconds <= 0:
        parser.error("--rounds begin at 1, and --seconds above 0")
    return chosen


async def measure(group: str, options: Options) -> Section:
    """Run a group in this process."""
    module = importlib.import_module(f"tests.benchmarks.groups.{group}")
    began = time.monotonic()
    outcome = await module.run(options)
    lasted = f"{time.monotonic() - began:.0f} s"
    facts = circumstances(module.PACKAGES, **outcome.facts)
    facts |= {"rounds": str(options.rounds), "turns of": f"{options.seconds:g} s", "took": lasted}
    return Section(group, facts, outcome.results, outcome.tables)


def summary(section: Section) -> str:
    """What a section has to say of its bars, a line each."""
    if section.failure:
        return f"{section.group}: FAILED: {section.failure}"
    bars = {bar.key: bar for bar in BARS}
    lines: list[str] = []
    for result in section.results:
        bar, spread = bars[result.key], result.spread
        if spread is None:
            lines.append(f"{result.key}: {result.reason}")
            continue
        met = "met" if bar.met(spread) else "MISSED"
        found = f"{number(spread.median)} {bar.unit} ({number(spread.low)} – {number(spread.high)})"
        lines.append(f"{result.key}: {found}, {bar.sense} {number(bar.value)}: {met}")
    return "\n".join(lines)


def write_page() -> None:
    """Write the page from everything that was kept."""
    sections = {path.stem: load(path) for path in KEPT.glob("*.json")}
    notes = {path.stem: path.read_text(encoding="utf-8") for path in NOTES.glob("*.md")}
    head = HEAD.read_text(encoding="utf-8")
    PAGE.write_text(page(head, BARS, GROUPS, sections, notes), encoding="utf-8")


def run_here(group: str, options: Options) -> int:
    """Measure a group in this process, and keep what comes of it."""
    section = anyio.run(measure, group, options, backend_options={"use_uvloop": True})
    sys.stdout.write(summary(section) + "\n")
    if options.quick:
        shown = page("", BARS, {group: GROUPS[group]}, {group: section}, {})
        sys.stdout.write(shown.partition(f"## {GROUPS[group]}")[2])  # seen, since it is not kept
    else:
        save(section, KEPT)
    return 0


def main(given: Sequence[str]) -> int:
    """Run what the command line asks for. Returns how many groups came to nothing."""
    chosen = arguments(given)
    if chosen.page:
        write_page()
        return 0
    rounds, seconds = (2, 0.3) if chosen.quick else (chosen.rounds, chosen.seconds)
    options = Options(rounds, seconds, chosen.quick, chosen.full, lambda line: print(line, file=sys.stderr))
    if chosen.here:
        return run_here(chosen.groups[0], options)
    failed = 0
    for group in chosen.groups or GROUPS:
        # In a process of its own: what one leaves behind in memory must not weigh on the next.
        words = [sys.executable, "-m", "tests.benchmarks", group, "--here"]
        words += [f"--rounds={rounds}", f"--seconds={seconds}"]
        words += ["--quick"] * chosen.quick + ["--full"] * chosen.full
        code = subprocess.run(words, cwd=ROOT, check=False).returncode
        if code:
            failed += 1
            section = Section(group, circumstances(()), failure=f"it ended with {code}; its output says why")
            sys.stdout.write(summary(section) + "\n")
            if not chosen.quick:
                save(section, KEPT)
    if not chosen.quick:
        write_page()
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
