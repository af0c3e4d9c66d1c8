"""The way in for a loop that is written as a dictionary or JSON."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from skene.definitions.faults import DefinitionError, refuse
from skene.definitions.loop import Loop, warn_of
from skene.definitions.values import JsonObject, as_mapping

_SOURCES = "a mapping, JSON text, or the path of a .json file"


def load_loop(source: Mapping[str, Any] | str | bytes | os.PathLike[str]) -> Loop:
    """Loads a loop from a dictionary or JSON, in camelCase or snake_case.

    Args:
        source: A mapping, JSON text, or the path of a .json file. `Infinity` may be bare or a string.

    Raises:
        DefinitionError: With every fault of the loop; or where the JSON cannot be read.
    """
    what = "the loop"
    try:
        if _is_file(source):
            what = f"the loop in {os.fspath(source)}"
            loop = Loop.read(_parse(_content(source)))
        elif isinstance(source, (str, bytes)):
            loop = Loop.read(_parse(source))
        elif as_mapping(source) is None:
            raise refuse(source, _SOURCES)
        else:
            loop = Loop.read(source)
    except DefinitionError as error:
        raise DefinitionError(error.faults, what) from None
    except RecursionError:
        faults = refuse(None, "the keys of a loop", given="values nested too deeply to read").faults
        raise DefinitionError(faults, what) from None
    warn_of(loop)
    return loop


def _is_file(source: object) -> TypeGuard[str | os.PathLike[str]]:
    if isinstance(source, str):
        return source.endswith(".json") and not set(source) & set("{\r\n")
    return isinstance(source, os.PathLike)


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise refuse(None, _SOURCES, given=f"a path that cannot be read ({error.strerror})") from None
    except ValueError:  # a NUL or a lone surrogate in the name
        raise refuse(None, _SOURCES, given="a path that no file can have") from None


def _parse(source: str | bytes) -> object:
    text = source.removeprefix("\ufeff") if isinstance(source, str) else source
    try:
        return json.loads(text, object_pairs_hook=JsonObject.from_pairs)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        given = f"JSON that does not parse ({error.msg})"
        raise refuse(None, "valid JSON", path=where, given=given) from None
    except UnicodeDecodeError as error:
        where = f"byte {error.start}"
        raise refuse(None, "JSON in UTF-8", path=where, given="bytes that are no text") from None
    except RecursionError:
        raise refuse(None, "the keys of a loop", given="JSON nested too deeply to read") from None
    except ValueError:  # Python refuses to read numbers of more than some 4,300 digits
        raise refuse(None, "numbers below 2**63", given="JSON with a number of thousands of digits") from None
