"""`skene schema`: what a loop may look like as JSON, for editors."""

import typer

from skene.cli.failing import DebugOption, guarded
from skene.cli.output import examples, print_json

__all__ = ["commands"]

commands = typer.Typer()


@commands.command(epilog=examples("skene schema", "skene schema > loop.schema.json"))
@guarded
def schema(debug: DebugOption = False) -> None:
    """Print the JSON Schema of a loop, for editors.

    Whatever it refuses, skene refuses, too. It needs no configuration.
    """
    from skene.definitions.schema import loop_schema

    print_json(loop_schema())
