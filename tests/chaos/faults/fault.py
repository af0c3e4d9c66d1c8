"""What a fault is: something that goes wrong in systems of this kind, and what happens then in this one."""

from dataclasses import dataclass

__all__ = ["Fault", "fault"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that may go wrong.

    Attributes:
        key: by which proofs name it.
        what: goes wrong.
        then: what happens.
        tests: show it, beside the proofs that name it: `path/to/file.py::name`.
        why_not: why neither a test nor a proof shows it; empty if one does.
    """

    key: str
    what: str
    then: str
    tests: tuple[str, ...] = ()
    why_not: str = ""


def fault(key: str, what: str, then: str, *tests: str, why_not: str = "") -> Fault:
    """One whose tests are written for short: `fastapi/test_answers::test_…`, `conformance/…::test_…`."""
    return Fault(key, what, then, tuple(map(_path, tests)), why_not)


def _path(test: str) -> str:
    file, _, name = test.partition("::")
    folder = "skene/testing" if file.startswith("conformance/") else "tests"
    return f"{folder}/{file}.py::{name}"
