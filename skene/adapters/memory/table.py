"""A table of very many subjects that grows in small steps."""

from collections.abc import Iterator, MutableMapping
from typing import TypeVar

__all__ = ["Table"]

V = TypeVar("V")
MOST = 32
"""Entries of a leaf, on average; more make the table grow by a leaf."""


class Table(MutableMapping[str, V]):
    """A dictionary in many small ones, told apart by the last bits of the keys' hashes.

    A large dictionary moves all that it holds whenever it has to grow: with a million entries everybody waits
    tens of milliseconds for the one that is a million and first. Here one leaf is split in two, the leaves
    taking turns, and all others stay as they are (linear hashing).

    Attributes:
        leaves: the small dictionaries. As many as `turn`, and the last ones, which came from these, hold keys
            that are told apart by the bits of `wide`; the others by those of `narrow`.
    """

    __slots__ = ("_size", "leaves", "narrow", "turn", "wide")

    def __init__(self) -> None:
        self.leaves: list[dict[str, V]] = [{}]
        self.turn, self.narrow, self.wide = 0, 0, 1
        self._size = 0

    def leaf(self, key: str) -> dict[str, V]:
        """The leaf that an entry is in, if there is one. What is there may be changed in the leaf itself."""
        mixed = hash(key)
        place = mixed & self.narrow
        return self.leaves[place if place >= self.turn else mixed & self.wide]

    def __getitem__(self, key: str) -> V:
        return self.leaf(key)[key]

    def __setitem__(self, key: str, value: V) -> None:
        leaf = self.leaf(key)
        before = len(leaf)
        leaf[key] = value
        if len(leaf) != before:
            self._size += 1
            if self._size > MOST * len(self.leaves):
                self._grow()

    def __delitem__(self, key: str) -> None:
        del self.leaf(key)[key]
        self._size -= 1

    def __iter__(self) -> Iterator[str]:
        for leaf in self.leaves:
            yield from leaf

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return repr(dict(self))

    def _grow(self) -> None:
        """Split the leaf whose turn it is: its keys are told apart by one more bit."""
        stay: dict[str, V] = {}
        move: dict[str, V] = {}
        bit = self.narrow + 1
        for key, value in self.leaves[self.turn].items():
            (move if hash(key) & bit else stay)[key] = value
        self.leaves[self.turn] = stay
        self.leaves.append(move)
        self.turn += 1
        if self.turn == bit:
            self.turn, self.narrow, self.wide = 0, self.wide, self.wide << 1 | 1
