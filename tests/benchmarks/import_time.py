"""How long `import skene` takes, beside what it is built on.

Not a test: a number that depends on the machine fails for the wrong reasons. Run it by hand:

    python -m tests.benchmarks.import_time [runs]
"""

import os
import statistics
import subprocess
import sys
import tempfile

_TIMED = "import time; began = time.perf_counter(); {what}; print(time.perf_counter() - began)"
_SUBJECTS = {
    "import pydantic": "import pydantic",
    "pydantic.BaseModel": "import pydantic; pydantic.BaseModel",
    "one small model": "import pydantic; pydantic.create_model('Small', x=int)",
    "import skene": "import skene",
}


def once(what: str, env: dict[str, str]) -> float:
    """Seconds that a statement takes in a fresh interpreter, the interpreter's own start left out."""
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(what=what)],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    return float(done.stdout)


def main(runs: int = 15) -> None:
    """Measure all in turn, so that whatever slows the machine down slows all of them down."""
    taken: dict[str, list[float]] = {name: [] for name in _SUBJECTS}
    with tempfile.TemporaryDirectory() as cache:
        # Everything is measured compiled, as pip installs it, whether or not this checkout is.
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        for what in _SUBJECTS.values():
            once(what, env)
        for _ in range(runs):
            for name, what in _SUBJECTS.items():
                taken[name].append(once(what, env))
    medians = {name: statistics.median(times) * 1000 for name, times in taken.items()}
    for name, median in medians.items():
        print(f"{name:18} {median:7.1f} ms")  # noqa: T201 - what it is for
    skene = medians.pop("import skene")
    for name, median in medians.items():
        print(f"skene beyond {name}: {skene - median:+.1f} ms, {skene / median:.2f} times as long")  # noqa: T201 - as above


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
