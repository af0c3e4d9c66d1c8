"""`skene schema`."""

import json

from skene.definitions.schema import loop_schema
from tests.cli.project import Project


def test_it_prints_the_schema_of_a_loop_and_nothing_else(empty: Project) -> None:
    result = empty.run("schema")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == loop_schema()


def test_it_needs_no_configuration_that_works(empty: Project) -> None:
    empty.write("skene_config.py", "raise RuntimeError\n")
    assert empty.run("schema").exit_code == 0
