"""Finds an app's Skene for the pytest plugin."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from skene.wiring import Skene

__all__ = ["find_skene"]


def find_skene(where: str, folder: Path) -> Skene:
    """Import what `module:name` names.

    Args:
        where: from the ini option.
        folder: the project's root, searched when the module is nowhere else.

    Raises:
        pytest.UsageError: there is none; says what to do.
    """
    module, colon, name = where.partition(":")
    if not (module and colon and name):
        raise pytest.UsageError(f'skene_config: got {where!r}; give module:name, e.g. "skene_config:skene"')
    try:
        found = getattr(_imported(module, folder), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and something that it imports is not
        raise pytest.UsageError(
            f"skene_config: there is no module {error.name!r}. Set it in pytest's configuration "
            '(skene_config = "module:name"), or override the fixture skene_under_test in conftest.py.'
        ) from None
    if not isinstance(found, Skene):
        given = f"nothing called {name!r}" if found is None else f"a {type(found).__name__} called {name!r}"
        raise pytest.UsageError(
            f"skene_config: the module {module!r} has {given}; name the app's Skene there"
        )
    return found


def _imported(module: str, folder: Path) -> object:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0] or str(folder) in sys.path:
            raise
    sys.path.insert(0, str(folder))
    return import_module(module)
