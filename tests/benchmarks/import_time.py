"""How long `import skene` takes, beside what it is built on.

Not a test: a number that depends on the machine fails for the wrong reasons. By itself:

    python -m tests.benchmarks.import_time [runs]
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

import anyio

from tests.benchmarks.frame.measuring import Figures, Heat, Turn, run_heat

__all__ = ["SUBJECTS", "measure"]

_TIMED = "import time; began = time.perf_counter(); {what}; print(time.perf_counter() - began)"
SUBJECTS = {
    "import pydantic": "import pydantic",
    "pydantic.BaseModel": "import pydantic; pydantic.BaseModel",
    "one small model": "import pydantic; pydantic.create_model('Small', x=int)",
    "a configuration's imports": "from skene import Skene, action, condition, define_loop, step",
    "import skene": "import skene",
}


def once(what: str, env: dict[str, str]) -> float:
    """Milliseconds that a statement takes in a fresh interpreter, the interpreter's own start left out."""
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(what=what)],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    return float(done.stdout) * 1000


async def measure(runs: int, tell: Callable[[str], None] = lambda _: None) -> Heat:
    """Measure all in turn, so that whatever slows the machine down slows all of them down."""
    with tempfile.TemporaryDirectory() as cache:
        # Everything is measured compiled, as pip installs it, whether or not this checkout is.
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}

        def turn_of(what: str) -> Turn:
            async def turn() -> Figures:
                return {"ms": once(what, env)}

            return turn

        for what in SUBJECTS.values():
            once(what, env)
        return await run_heat({name: turn_of(what) for name, what in SUBJECTS.items()}, runs, tell)


async def main(runs: int = 15) -> None:
    heat = await measure(runs)
    for name in SUBJECTS:
        spread = heat.figure(name, "ms")
        assert spread is not None
        print(f"{name:18} {spread.median:7.1f} ms")
    for name in list(SUBJECTS)[:-1]:
        beyond, ratio = heat.difference("import skene", name, "ms"), heat.ratio("import skene", name, "ms")
        assert beyond is not None
        assert ratio is not None
        print(f"skene beyond {name}: {beyond.median:+.1f} ms, {ratio.median:.2f} times as long")


if __name__ == "__main__":
    anyio.run(main, *map(int, sys.argv[1:]))
