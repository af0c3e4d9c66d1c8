"""Writes the page: every claim with what was found and how its control failed, and every fault."""

from collections.abc import Sequence

from tests.benchmarks.frame.page import table
from tests.chaos.faults import Fault
from tests.chaos.frame.results import Run
from tests.chaos.proof import Finding, Proof

__all__ = ["page"]

NOT_RUN = "not run yet"


def page(head: str, proofs: Sequence[Proof], runs: Sequence[Run], faults: Sequence[Fault]) -> str:
    """The whole page as Markdown.

    Args:
        head: what stands above everything.
        proofs: the claims, in order.
        runs: what was found, by proof and seed; those of proofs that are not there are left out.
        faults: what may go wrong, in order.
    """
    tried = {proof.key: [run for run in runs if run.key == proof.key] for proof in proofs}
    rows = [_row(proof, tried[proof.key]) for proof in proofs]
    parts = [head, table(["claim", "numbers", "found", "control", "how the control failed"], rows)]
    parts += _circumstances([run for of_proof in tried.values() for run in of_proof])
    parts += [
        FAULTS,
        table(["fault", "what happens then", "shown by"], [_fault(fault, proofs) for fault in faults]),
    ]
    return "\n".join(parts)


FAULTS = """## What may go wrong

A word such as `exact` is a proof above; a path is a test. Where nothing shows it, the reason stands there.
"""


def _row(proof: Proof, runs: Sequence[Run]) -> list[str]:
    found = _told([run.ours for run in runs]) or NOT_RUN
    failures = [f"**seed {run.seed} came to nothing: {run.failure}**" for run in runs if run.failure]
    broken = _told([[finding for finding in run.control if not finding.holds] for run in runs])
    passed = [f"**with seed {run.seed} it did not**" for run in runs if not run.failure and not run.caught]
    how = "<br>".join([*([broken] if broken else []), *passed]) or NOT_RUN
    claim = f"{proof.claim} (`{proof.key}`)"
    return [claim, proof.numbers, "<br>".join([found, *failures]), proof.control, how]


def _told(sides: Sequence[Sequence[Finding]]) -> str:
    """Findings of several seeds, a line for each thing: what was found with each, and what is asked."""
    things: dict[str, list[Finding]] = {}
    for findings in sides:
        for finding in findings:
            things.setdefault(finding.what, []).append(finding)
    return "<br>".join(_line(what, found) for what, found in things.items())


def _line(what: str, findings: Sequence[Finding]) -> str:
    values = " · ".join(finding.found for finding in findings)
    asked = " · ".join(dict.fromkeys(finding.asked for finding in findings))
    broken = any(not finding.holds for finding in findings)
    return f"{what}: {f'**{values}**' if broken else values} ({asked})"


def _circumstances(runs: Sequence[Run]) -> list[str]:
    seeds = sorted({run.seed for run in runs})
    told = [f"Seeds, in the order of the figures: {', '.join(map(str, seeds))}.\n"] if seeds else []
    ways: dict[str, None] = dict.fromkeys(
        ", ".join(f"{name} {value}" for name, value in run.facts.items() if name not in ("measured", "took"))
        for run in runs
    )
    days = sorted({run.facts.get("measured", "")[:10] for run in runs} - {""})
    told += [f"Tried on {', '.join(days)}.\n"] if days else []
    return told + [f"{way}.\n" for way in ways if way]


def _fault(fault: Fault, proofs: Sequence[Proof]) -> list[str]:
    shown = [f"`{proof.key}`" for proof in proofs if fault.key in proof.faults]
    shown += [f"`{test}`" for test in fault.tests]
    return [f"{fault.what} (`{fault.key}`)", fault.then, "<br>".join(shown) or fault.why_not]
