"""Finds what the user wrote: the `Skene` of their configuration, the app that it gates."""

import importlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import CommandError
from skene.definitions.faults import DefinitionError, Fault, SkeneError, nearest

if TYPE_CHECKING:
    from skene.runtime.skene import Runtime

__all__ = ["DEFAULT", "ConfigOption", "LoadError", "find_config", "load_object", "load_skene"]

VARIABLE = "SKENE_CONFIG"
DEFAULT = "skene_config:skene"
LOADED_FROM = "the loop in "
"""What `load_loop` calls a loop in a file."""

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="MODULE:NAME",
        help=f"Where your Skene is. Without it, the variable {VARIABLE}, then {DEFAULT} in this folder.",
    ),
]


class LoadError(CommandError):
    """What was to be loaded is not there or does not load.

    Attributes:
        faults: the single things that are wrong, where they are known.
        where: file and line that they come from.
        missing: there is no such module at all.
    """

    code = "configuration_not_loaded"

    def __init__(
        self,
        message: str,
        faults: Iterable[Fault] = (),
        *,
        where: str = "",
        missing: bool = False,
        cause: BaseException | None = None,
    ) -> None:
        if isinstance(cause, SkeneError):
            self.code, self.fix = cause.code, cause.fix
        self.faults = tuple(faults)
        self.where = where
        self.missing = missing
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class _Place:
    """`module:name`, and who said so."""

    module: str
    name: str
    said: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


def find_config(given: str | None) -> str:
    """Where the configuration is: what was given, else the variable, else the usual place."""
    return given or os.environ.get(VARIABLE, "").strip() or DEFAULT


def load_skene(given: str | None) -> "Runtime":
    """The user's `Skene`.

    Args:
        given: `--config`, if it was given.

    Raises:
        LoadError: it is not there, or does not load, or is something else.
    """
    from skene.runtime.skene import Runtime

    said = "--config" if given else VARIABLE if os.environ.get(VARIABLE, "").strip() else ""
    place = _read_place(find_config(given), "skene", said)
    found = _load(place)
    if isinstance(found, Runtime):
        return found
    hint = f"; call it: {place.name} = {place.name}(…)" if callable(found) else ""
    raise LoadError(f"{place} is {_kind(found)}; it must be a Skene(…){hint}")


def load_object(given: str, option: str, default_name: str) -> tuple[str, Any]:
    """Anything else that an option names.

    Returns:
        Its place as `module:name`, and the object.

    Raises:
        LoadError: it is not there or does not load.
    """
    place = _read_place(given, default_name, option)
    return str(place), _load(place)


def _read_place(text: str, default_name: str, said: str) -> _Place:
    module, colon, name = text.strip().partition(":")
    name = name if colon else default_name
    if all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        return _Place(module, name, said)
    path = module.removesuffix(".py").removeprefix("./")
    dotted = ".".join(part for part in path.replace("\\", "/").split("/") if part)
    near = f"{dotted}:{name or default_name}" if dotted.replace(".", "").isidentifier() else ""
    hint = f"; did you mean {near}?" if near and near != text else ""
    raise LoadError(f"{said or VARIABLE}: got {text!r}; give module:name such as {DEFAULT}{hint}")


def _load(place: _Place) -> Any:
    here = os.getcwd()
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    found: Any = _import(place)
    for step in place.name.split("."):
        if not hasattr(found, step):
            raise LoadError(_no_such_name(place, found, step))
        found = getattr(found, step)
    return found


def _import(place: _Place) -> ModuleType:
    try:
        # What it prints is not this command's output, which may be JSON.
        with redirect_stdout(sys.stderr):
            return importlib.import_module(place.module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if place.module == missing or place.module.startswith(f"{missing}."):
            raise LoadError(_no_such_module(place), missing=True) from error
        raise LoadError(f"{_where(error, place)}: {error}; is it installed here?") from error
    except SyntaxError as error:
        at = f"{_shown(error.filename or place.module)}:{error.lineno}"
        line = f"\n    {error.text.strip()}" if error.text else ""
        raise LoadError(f"{at}: {type(error).__name__}: {error.msg}{line}") from error
    except SystemExit as error:
        raise LoadError(
            f"{_where(error, place)}: {place.module} ends the program when it is imported"
        ) from error
    except Exception as error:  # the user's code may raise anything
        faults = getattr(error, "faults", ())
        where = _source(error, place)
        raise LoadError(_raised(error, place), faults, where=where, cause=error) from error


def _raised(error: Exception, place: _Place) -> str:
    where = _where(error, place)
    if isinstance(error, SkeneError):
        return f"{where}: {error}"
    frame = _users_frame(error)
    source = f"\n    {frame.line.strip()}" if frame is not None and frame.line else ""
    if isinstance(error, KeyError) and frame is not None and "environ" in (frame.line or ""):
        return f"{where}: the environment variable {error.args[0]} is not set{source}"
    said = next(iter(str(error).strip().splitlines()), "")
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{where}: {text}{source}"


def _source(error: BaseException, place: _Place) -> str:
    """The line that made a faulty definition; of one in a file of its own, that file as well."""
    what = error.what if isinstance(error, DefinitionError) else ""
    _, found, file = what.partition(LOADED_FROM)
    return f"{_where(error, place)}: {_shown(file)}" if found else _where(error, place)


def _where(error: BaseException, place: _Place) -> str:
    frame = _users_frame(error)
    return f"{_shown(frame.filename)}:{frame.lineno}" if frame is not None else place.module


def _users_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The last line that ran in the user's own code, rather than in a library or in skene."""
    libraries = [Path(path) for path in {*sysconfig.get_paths().values()}]
    ours = Path(__file__).resolve().parents[1]
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and not Path(frame.filename).resolve().is_relative_to(ours)
        and not any(Path(frame.filename).is_relative_to(path) for path in libraries)
        and "site-packages" not in Path(frame.filename).parts
    ]
    return own[-1] if own else None


def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


def _no_such_module(place: _Place) -> str:
    file = place.module.replace(".", "/") + ".py"
    if not place.said:
        return (
            f"there is no {file} in this folder; run the command beside it, "
            f"name another with --config module:name, or set {VARIABLE}"
        )
    modules = [path.stem for path in Path.cwd().glob("*.py")]
    modules += [
        ".".join(path.relative_to(Path.cwd()).with_suffix("").parts) for path in Path.cwd().glob("*/*.py")
    ]
    near = nearest(place.module, modules)
    hint = f"; did you mean {near}:{place.name}?" if near else ""
    return f"{place.said}: there is no module {place.module} in this folder or installed{hint}"


def _no_such_name(place: _Place, found: object, step: str) -> str:
    near = nearest(step, [name for name in dir(found) if not name.startswith("_")])
    hint = f"; did you mean {place.module}:{near}?" if near else ""
    return f"{place.module} has no {step!r}{hint}"


def _kind(found: object) -> str:
    if found is None:
        return "None"
    return f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
