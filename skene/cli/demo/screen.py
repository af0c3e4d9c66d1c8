"""What the demo shows: a progress bar, each step as it happens, and on failure the step's name."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from skene.cli.failing import CommandError, explain

__all__ = ["DemoFailed", "Screen"]


class DemoFailed(CommandError):
    """A step did not go as expected.

    Args:
        step: its name.
        what: what was expected, and what came.
    """

    def __init__(self, step: str, what: str) -> None:
        self.step = step
        super().__init__(f'the demo failed at the step "{step}": {what}')


class Screen:
    """Prints, and compares what the system said with what it should say."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = "start"

    @contextmanager
    def step(self, name: str) -> Generator[None]:
        """One step. Whatever goes wrong inside is reported under its name."""
        self._step = name
        try:
            yield
        except DemoFailed:
            raise
        except Exception as error:
            raise DemoFailed(name, explain(error)) from error

    def expect(self, what: str, got: object, wanted: object) -> None:
        """Compare.

        Raises:
            DemoFailed: they differ.
        """
        if got != wanted:
            raise DemoFailed(self._step, f"{what}: expected {wanted!r}, got {got!r}")

    def done(self, text: str) -> None:
        """Say that something has happened."""
        self._console.print(Text.assemble(("✓ ", "bold green"), text))

    def note(self, text: str = "") -> None:
        """Say something on the side."""
        self._console.print(Text(text, style="dim"))

    def line(self, text: str = "") -> None:
        """Print a line as it is, whatever its length: an address must stay in one piece."""
        self._console.print(Text(text), soft_wrap=True)

    def quote(self, text: str, style: str = "cyan") -> None:
        """Show somebody else's words, in full and set off."""
        for line in text.strip().splitlines():
            self._console.print(Text(f"  │ {line}", style=style), soft_wrap=True)

    def quote_json(self, data: Any) -> None:
        """Show an answer."""
        self.quote(json.dumps(data, indent=2, ensure_ascii=False), "yellow")

    def show(self, what: RenderableType) -> None:
        """Show a table."""
        self._console.print(Padding(what, (0, 2), expand=False))

    @contextmanager
    def progress(self, text: str, total: int) -> Generator[Callable[[], None]]:
        """A progress bar; call what it yields after each piece of work."""
        columns = (TextColumn("  {task.description}"), BarColumn(40), MofNCompleteColumn())
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(text, total=total)
            yield lambda: bar.advance(task)
