"""`python -m tests.chaos [KEY …]`: tries proofs and their controls, and writes the page."""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio

from tests.benchmarks.frame.machine import ROOT, circumstances
from tests.chaos.faults import FAULTS
from tests.chaos.frame.page import page
from tests.chaos.frame.results import Run, load, save
from tests.chaos.proof import Finding, Proof, Trial
from tests.chaos.proofs import PROOFS
from tests.support.postgres import PostgresError, find_binaries
from tests.support.postgres import version as postgres_version

KEPT = ROOT / ".chaos"
"""What was found last, by proof and seed, so that the page can be written again without trying all of it."""
PAGE = ROOT / "docs" / "guarantees.md"
HEAD = Path(__file__).with_name("head.md")
PACKAGES = ("anyio", "asyncpg", "fastapi", "sqlalchemy", "starlette", "uvicorn")


def arguments(given: Sequence[str]) -> argparse.Namespace:
    keys = [proof.key for proof in PROOFS]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("keys", nargs="*", metavar="KEY", help=f"of {', '.join(keys)}; all if left out")
    parser.add_argument("--seeds", default="1,2,3", help="what random numbers follow from (1,2,3)")
    parser.add_argument("--short", action="store_true", help="the small form; nothing is kept")
    parser.add_argument("--page", action="store_true", help="write the page from what was kept, try nothing")
    chosen = parser.parse_args(given)
    unknown = [key for key in chosen.keys if key not in keys]
    if unknown:
        parser.error(f"no proof is called {', '.join(unknown)}; there are {', '.join(keys)}")
    try:
        chosen.seeds = tuple(dict.fromkeys(int(seed) for seed in chosen.seeds.split(",")))
    except ValueError:
        parser.error(f"--seeds={chosen.seeds}: give whole numbers with commas between them, such as 1,2,3")
    return chosen


def attempt(proof: Proof, seed: int, *, long: bool) -> Run:
    """Try a proof and its control, each in a folder of its own."""
    began = time.monotonic()
    sides: list[Sequence[Finding]] = []
    failure = ""
    try:
        for side in (proof.try_ours, proof.try_control):
            with tempfile.TemporaryDirectory() as folder:
                sides.append(anyio.run(partial(side, Trial(seed, long, Path(folder)))))
    except Exception as error:  # noqa: BLE001 - the other proofs are tried all the same
        traceback.print_exception(error)
        failure = f"{type(error).__name__}: {error}".partition("\n")[0]
    facts = circumstances(PACKAGES, PostgreSQL=_postgres(), took=f"{time.monotonic() - began:.0f} s")
    ours, control = (*sides, (), ())[:2]
    return Run(proof.key, seed, tuple(ours), tuple(control), facts, failure)


def _postgres() -> str:
    try:
        return postgres_version(find_binaries())
    except PostgresError:
        return "not found"


def summary(run: Run) -> str:
    """What a run has to say, a line each."""
    lines = [
        f"{run.key}, seed {run.seed}: {'holds' if run.holds else 'FAILED'} ({run.facts.get('took', '')})"
    ]
    lines += [f"  {finding}" for finding in run.ours]
    if run.failure:
        return "\n".join([*lines, f"  it came to nothing: {run.failure}"])
    caught = [finding for finding in run.control if not finding.holds]
    lines += [f"  control: {finding.what}: {finding.found}, {finding.asked}" for finding in caught]
    return "\n".join(lines if caught else [*lines, "  control: PASSED, so nothing is shown"])


def write_page() -> None:
    """Write the page from everything that was kept."""
    PAGE.write_text(page(HEAD.read_text(encoding="utf-8"), PROOFS, load(KEPT), FAULTS), encoding="utf-8")


def main(given: Sequence[str]) -> int:
    """Do what the command line asks for. Returns how many runs failed."""
    chosen = arguments(given)
    failed = 0
    for seed in () if chosen.page else chosen.seeds:
        for proof in PROOFS:
            if chosen.keys and proof.key not in chosen.keys:
                continue
            run = attempt(proof, seed, long=not chosen.short)
            sys.stdout.write(summary(run) + "\n")
            sys.stdout.flush()
            failed += not run.holds
            if not chosen.short:
                save(run, KEPT)
    if not chosen.short:
        write_page()
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
