"""How a command fails: one clear line on standard error and an exit code; a traceback only on request."""

import logging
import re
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar

import typer

from skene.definitions.faults import SkeneError

__all__ = ["CommandError", "DebugOption", "explain", "guarded", "report", "scrub"]

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130
_SECRET = re.compile(
    r"\b(?:sk|rk|pk)_(?:live|test)_\w+|\bwhsec_\w+|\bpdl_\w*(?:apikey|ntfset)_\w+"
    r"|\bre_(?=\w*[0-9])\w{8,}|(?<=://)[^/\s@]*(?=@)"
)

DebugOption = Annotated[bool, typer.Option("--debug", help="Show the whole traceback of a failure.")]


class CommandError(Exception):
    """What a command cannot do, in words for the person who typed it.

    Args:
        message: one line, or a headline and a line for each thing that is wrong.
    """


def scrub(text: str) -> str:
    """The text without keys, signing secrets and the credentials in addresses."""
    return _SECRET.sub("…", text)


def report(message: str) -> None:
    """Write an error to standard error."""
    typer.echo(f"error: {scrub(message)}", err=True)


def explain(error: BaseException) -> str:
    """An exception in words; what skene itself raises is meant to be read, anything else is named."""
    error = _only(error)
    if isinstance(error, CommandError | SkeneError):
        return str(error)
    said = next(iter(str(error).strip().splitlines()), "")
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{text} (--debug shows the traceback)"


def _only(error: BaseException) -> BaseException:
    """What a group holds, if that is one exception: task groups wrap even a single one."""
    inside: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return _only(inside[0]) if len(inside) == 1 else error


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn whatever a command raises into an error message and exit code 1.

    With `debug=True` among its arguments the traceback is shown as well.
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        debug = bool(kwargs.get("debug"))
        _set_up_logging(debug=debug)
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            sys.stderr.close()  # or Python complains, while it ends, that nobody reads any more
            raise typer.Exit(1) from None
        except Exception as error:  # noqa: BLE001 - whatever it is, the person at the terminal gets a line, not a stack
            if debug:
                traceback.print_exception(error)
            report(explain(error))
            raise typer.Exit(1) from None

    return run


class _OneLine(logging.Formatter):
    """Log records without their tracebacks and secrets."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{record.levelname.lower()}: {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            line += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        return scrub(line.replace("\n", " "))


def _set_up_logging(*, debug: bool) -> None:
    """Send warnings to standard error, one line each: libraries beneath must not print stacks either."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s") if debug else _OneLine())
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else logging.WARNING, force=True)
