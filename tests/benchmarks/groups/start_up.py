"""What `import skene` adds to a process's start."""

from tests.benchmarks.frame.options import Options, Outcome
from tests.benchmarks.frame.page import shown
from tests.benchmarks.frame.results import Result, Table
from tests.benchmarks.import_time import SUBJECTS, measure

__all__ = ["PACKAGES", "run"]

PACKAGES = ("pydantic",)


async def run(options: Options) -> Outcome:
    """Each import in a new interpreter."""
    heat = await measure(options.scaled(max(15, options.rounds), 3), options.tell)
    rows = [[f"`{name}`", shown(heat.figure(name, "ms"))] for name in SUBJECTS]
    return Outcome(
        [
            Result("import", heat.difference("import skene", "import pydantic", "ms")),
            Result("import-all", heat.difference("a configuration's imports", "import pydantic", "ms")),
        ],
        [Table("In a new interpreter", "Compiled, as pip installs it.", ["", "ms (lowest–highest)"], rows)],
    )
