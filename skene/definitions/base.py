"""What every definition has in common: frozen, strict, and dumped just as it was written."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, ClassVar, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel, to_snake

from skene.definitions.faults import DefinitionError, Fault, describe, join, key_path, nearest, refuse, under
from skene.definitions.units import format_duration
from skene.definitions.values import as_mapping, repeated_keys

D = TypeVar("D", bound="Definition")


class Written:
    """How a definition was written: its keys in order, and each plain value as it stood there.

    Takes no part in equality or hash: two loops that mean the same are equal, however they were written.

    Attributes:
        values: Raw values by field name.
        bare: Whether a bare value stood in place of an object.
    """

    __slots__ = ("bare", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.bare = False

    def remember(self, values: Mapping[str, Any], *, bare: bool) -> None:
        """Fills it, once the definition has been made from these values."""
        self.values = {name: _keep(value) for name, value in values.items()}
        self.bare = bare

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Written)

    def __hash__(self) -> int:
        return hash(Written)


class Faulty:
    """Stands in for a part of a loop that has faults, until `define_loop` reports those of all parts at once.

    Any other use of it raises the faults of this part alone.

    Args:
        kind: The class it was to be.
        values: What was given, by field name.
        error: What came of it.
    """

    __slots__ = ("error", "kind", "values")

    def __init__(self, kind: type["Definition"], values: Mapping[str, Any], error: DefinitionError) -> None:
        self.kind = kind
        self.values = values
        self.error = error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.error

    def __repr__(self) -> str:
        return f"<faulty {self.kind.__name__}: {'; '.join(map(str, self.error.faults))}>"


class Definition(BaseModel, frozen=True):
    """The base of everything a user defines.

    Both spellings of a key are understood (`upgrade_prompt`, `upgradePrompt`), unknown keys are refused, and
    it dumps back to exactly the keys that were written, in their order, in camelCase.

    Raises:
        DefinitionError: With every fault, when a value is not allowed.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        loc_by_alias=False,
        extra="forbid",
        hide_input_in_errors=True,
        defer_build=True,  # what checks a kind is made at its first use: `import skene` does not wait for it
    )

    example: ClassVar[str] = "a definition"
    """How this is written, for messages."""
    shorthand: ClassVar[str | None] = None
    """The field that a bare value stands for, where no object is needed."""
    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Keys of other kinds of the same type that do not go with this one, and what to do with each."""

    _written: Written = PrivateAttr(default_factory=Written)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise DefinitionError(_cause(error).faults, type(self).__name__) from None

    # Tells pydantic that nested values need not come through this __init__, as its own RootModel does.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]

    @classmethod
    def read(cls, value: object) -> Self:
        """Makes the definition from a mapping, an instance or its shorthand; raises DefinitionError."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise DefinitionError(_cause(error).faults, cls.__name__) from None

    @model_validator(mode="wrap")
    @classmethod
    def _read_as_written(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, cls):
            return value
        whole = isinstance(value, (Definition, Faulty)) or as_mapping(value) is not None
        bare = cls.shorthand is not None and not whole
        given = _mapping({cls.shorthand: value} if bare else value, cls)
        faults = repeated_keys(given)
        values, spelling = _by_field(cls, given, faults)
        try:
            made = handler(values)
        except ValidationError as error:
            faults += _faults(error, cls, dict.fromkeys(spelling, "") if bare else spelling)
        else:
            made._written.remember(values, bare=bare)
            if not faults:
                return made
        raise DefinitionError(faults, cls.__name__)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Returns a copy with some fields changed, checked like any; raises DefinitionError."""
        if not update:
            return super().model_copy(deep=deep)
        written = self._written.values
        made = type(self)(**{name: getattr(self, name) for name in written} | dict(update))
        kept = {name: written[name] for name in written if name not in update}
        made._written.remember(made._written.values | kept, bare=self._written.bare)
        return made

    @model_serializer(mode="plain")
    def _serialize(self) -> Any:
        return self.dump()

    def dump(self) -> Any:
        """Returns it as plain JSON values: the keys that were written, in their order, in camelCase.

        Raises:
            DefinitionError: If a value is Python code, which JSON cannot hold.
        """
        faults: list[Fault] = []
        dumped = _dump(self, None, "", faults)
        if faults:
            raise DefinitionError(faults, "the dump")
        return dumped

    @property
    def spelt_out(self) -> bool:
        """Whether any of its keys was written."""
        return bool(self._written.values)

    def dump_fields(self, path: str, faults: list[Fault]) -> Any:
        """Does the work of `dump` for what stands at `path`, adding to `faults`."""
        plain = {
            to_camel(name): _dump(getattr(self, name), raw, join(path, to_camel(name)), faults)
            for name, raw in self._written.values.items()
        }
        return plain[to_camel(str(self.shorthand))] if self._written.bare else plain


def part(kind: type[D], **values: Any) -> D:
    """Makes a part of a loop, leaves out what is at its default, and puts off the report of faults.

    Returns:
        The part; or, when a value is not allowed, a stand-in that carries the faults to `define_loop`.
    """
    return made_of(kind, without_defaults(kind, **values))


def made_of(kind: type[D], values: Mapping[str, Any]) -> D:
    """Makes a part like `part`, of just these values."""
    try:
        return kind(**values)
    except DefinitionError as error:
        return cast(D, Faulty(kind, values, error))


def without_defaults(kind: type[Definition], **values: Any) -> dict[str, Any]:
    """Leaves out the values that are at their default; the type always stays."""
    return {key: value for key, value in values.items() if key == "type" or not _is_default(kind, key, value)}


def misplaced(value: object, allowed: str) -> DefinitionError:
    """Makes the error for something that cannot become the definition that is wanted here."""
    given = None
    if isinstance(value, Faulty):
        given = f"a faulty {value.kind.__name__}"
    elif isinstance(value, Definition):
        given = f"a value of type {type(value).__name__}"
    return refuse(value, allowed, given=given)


def _mapping(value: object, cls: type[Definition]) -> Mapping[Any, Any]:
    if isinstance(value, Faulty) and issubclass(value.kind, cls):
        return value.values
    given = as_mapping(value)
    if given is None:
        raise misplaced(value, cls.example)
    return given


def _by_field(
    cls: type[Definition], given: Mapping[Any, Any], faults: list[Fault]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Sorts values under their field names; returns them, and how each name was spelt."""
    names = {to_camel(name): name for name in cls.model_fields} | {name: name for name in cls.model_fields}
    values: dict[str, Any] = {}
    spelling: dict[str, str] = {}
    for key, value in given.items():
        name = names.get(key) if isinstance(key, str) else None
        if name is None:
            faults.append(_unknown_key(cls, key, names))
        elif name in values:
            faults.append(Fault(key, f"the key given twice, as {spelling[name]} and {key}", "it once"))
        else:
            values[name], spelling[name] = value, key
    return values, spelling


def _unknown_key(cls: type[Definition], key: object, names: Iterable[str]) -> Fault:
    if isinstance(key, str) and (name := to_snake(key)) in cls.elsewhere:
        return Fault(key, "a key that does not go with the others", cls.elsewhere[name])
    allowed = ", ".join(to_camel(name) for name in cls.model_fields)
    return Fault(key_path(key), "an unknown key", f"one of {allowed}", nearest(key, names))


def _cause(error: ValidationError) -> DefinitionError:
    """Returns what `_read_as_written` raised, out of pydantic's wrapping."""
    return cast(DefinitionError, error.errors(include_url=False)[0].get("ctx", {})["error"])


def _faults(error: ValidationError, cls: type[Definition], spelling: Mapping[str, str]) -> list[Fault]:
    """Turns what pydantic found into faults, with paths in the spelling of whoever wrote the definition."""
    faults: list[Fault] = []
    for line in error.errors(include_url=False):
        first, *rest = line["loc"]
        name = str(first)
        path = join(spelling.get(name, name), *rest)
        cause = line.get("ctx", {}).get("error")
        if isinstance(cause, DefinitionError):
            faults += under(path, cause.faults)
        elif line["type"] == "missing":
            faults.append(Fault(path, "nothing", cls.model_fields[name].description or "a value"))
        else:
            faults.append(Fault(path, describe(line["input"], path), line["msg"]))
    return faults


def _keep(value: Any) -> Any:
    """Copies what may be needed to dump a value as it was written; definitions keep that themselves."""
    if isinstance(value, (list, tuple)):
        return tuple(_keep(item) for item in cast(list[Any], value))
    return None if isinstance(value, (Mapping, Definition)) else value


def _dump(value: Any, raw: Any, path: str, faults: list[Fault]) -> Any:
    """Dumps one value that was written as `raw`."""
    if isinstance(value, Definition):
        return value.dump_fields(path, faults)
    if isinstance(value, Mapping):
        entries = cast(Mapping[str, Any], value).items()
        return {key: _dump(entry, entry, join(path, key_path(key)), faults) for key, entry in entries}
    if isinstance(value, Enum):
        return value.value
    if isinstance(raw, tuple):
        return _dump_items(value, cast(tuple[object, ...], raw), path, faults)
    if isinstance(raw, timedelta):
        return format_duration(raw)
    if callable(raw):
        allowed = "what JSON can hold; a loop with functions is kept as Python"
        faults.append(Fault(path, "a function, which JSON cannot hold", allowed))
    return raw


def _dump_items(values: tuple[Any, ...], raw: tuple[Any, ...], path: str, faults: list[Fault]) -> list[Any]:
    """Dumps a list: definitions as they are, plain values as they were written."""
    if not any(isinstance(value, Definition) for value in values):
        return list(raw)
    return [_dump(value, None, join(path, place), faults) for place, value in enumerate(values)]


def _is_default(kind: type[Definition], key: str, value: Any) -> bool:
    default = kind.model_fields[key].get_default(call_default_factory=True)
    if isinstance(value, Definition) and value.spelt_out:
        return False  # what somebody wrote out is kept, even where it says nothing new
    if isinstance(default, timedelta) and isinstance(value, str):
        return value == format_duration(default)
    return type(value) is type(default) and bool(value == default)  # the type first, for True is not 1
