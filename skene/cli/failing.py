"""How a command fails: one clear line on standard error and an exit code; a traceback only on request."""

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar

import typer

from skene.definitions.faults import REFERENCE, SkeneError

__all__ = [
    "CommandError",
    "DebugOption",
    "as_json",
    "explain",
    "guarded",
    "guarding",
    "report",
    "report_error",
    "scrub",
]

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

    Attributes:
        code: as of a `SkeneError`.
        fix: as of a `SkeneError`; empty where the message says what to do.
    """

    code = "command_failed"
    fix = ""


def scrub(text: str) -> str:
    """The text without keys, signing secrets and the credentials in addresses."""
    return _SECRET.sub("…", text)


def report(message: str) -> None:
    """Write an error to standard error."""
    typer.echo(f"error: {scrub(message)}", err=True)


def report_error(error: BaseException) -> None:
    """Write an exception to standard error, and below it what to do and where that is told."""
    report(explain(error))
    told = as_json(error)
    if told["fix"]:
        typer.echo(f"help: {told['code']}: {told['fix']} {told['docs']}", err=True)


def as_json(error: BaseException) -> dict[str, str]:
    """An exception as data: code, message, what to do (empty where the message says it), where it is told."""
    error = _only(error)
    known = error if isinstance(error, CommandError | SkeneError) else None
    code, fix = ("unexpected_error", "") if known is None else (known.code, known.fix)
    message = scrub(explain(error))
    return {"code": code, "message": message, "fix": fix, "docs": f"{REFERENCE}/errors.md#{code}"}


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
    """Turn whatever a command raises into an error message and exit code 1; see `guarding`."""
    return _guard(command, 1)


def guarding(code: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """As `guarded`, for a command whose exit code 1 says something else."""
    return lambda command: _guard(command, code)


def _guard(command: Callable[P, R], code: int) -> Callable[P, R]:
    """Turn whatever a command raises into an error message and an exit code.

    With `debug=True` among its arguments the traceback is shown as well; with `as_json=True` the error is
    written to standard output, too, as an object.
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
            report_error(error)
            if kwargs.get("as_json"):
                typer.echo(json.dumps({"error": as_json(error)}, indent=2, ensure_ascii=False))
            raise typer.Exit(code) from None

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
