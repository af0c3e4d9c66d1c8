"""Mappings as definitions keep them, and as JSON brings them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar, cast

from skene.definitions.faults import Fault, key_path

K = TypeVar("K")
V_co = TypeVar("V_co", covariant=True)


class FrozenDict(Mapping[K, V_co]):
    """A mapping that keeps its order, cannot be changed and can be hashed.

    Args:
        items: The mapping to copy.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V_co]) -> None:
        self._items: dict[K, V_co] = dict(items)

    def __getitem__(self, key: K) -> V_co:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))  # order plays no part, as in equality

    def __repr__(self) -> str:
        return repr(self._items)


class JsonObject(dict[str, Any]):
    """An object read from JSON that remembers which of its keys stood there twice."""

    repeated: tuple[str, ...] = ()

    @classmethod
    def from_pairs(cls, pairs: list[tuple[str, Any]]) -> Self:
        """Builds the object from its members in order, for `json.loads(object_pairs_hook=)`."""
        made = cls(pairs)
        if len(made) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            made.repeated = tuple(key for key, count in counts.items() if count > 1)
        return made


def repeated_keys(value: Mapping[Any, Any]) -> list[Fault]:
    """Returns a fault for each key that stood twice in one JSON object."""
    keys: tuple[str, ...] = getattr(value, "repeated", ())
    return [Fault(key_path(key), "the key twice", "it once") for key in keys]


def as_mapping(value: object) -> Mapping[object, object] | None:
    """Returns the value if it is a mapping, else None."""
    return cast(Mapping[object, object], value) if isinstance(value, Mapping) else None


def as_list(value: object) -> Sequence[object] | None:
    """Returns the value if it is a list or a tuple, else None; text is neither."""
    return cast(Sequence[object], value) if isinstance(value, (list, tuple)) else None
