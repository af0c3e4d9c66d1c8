"""The table of MemoryStorage: a dictionary to whoever uses it, and it never moves all that it holds."""

from hypothesis import given
from hypothesis import strategies as st

from skene.adapters.memory.table import MOST, Table

KEYS = st.integers(0, 200).map("user-{}".format)
STEPS = st.lists(
    st.tuples(st.sampled_from(("set", "set", "set", "del", "pop", "look")), KEYS, st.integers()), max_size=400
)


@given(STEPS)
def test_it_is_a_dictionary(steps: list[tuple[str, str, int]]) -> None:
    table, model = Table[int](), dict[str, int]()
    for verb, key, value in steps:
        if verb == "set":
            table[key] = model[key] = value
        elif verb == "pop":
            assert table.pop(key, None) == model.pop(key, None)
        elif verb == "del" and key in model:
            del table[key], model[key]
        assert (key in table, table.get(key), len(table)) == (key in model, model.get(key), len(model))
    assert dict(table) == model
    assert sorted(table) == sorted(model)
    assert repr(table) == repr(dict(table))


def test_what_is_gone_is_missed() -> None:
    table = Table[int]()
    for method in (table.__getitem__, table.__delitem__):
        try:
            method("ada")
        except KeyError:
            continue
        raise AssertionError(method)
    assert len(table) == 0


def grown(table: Table[int], entries: int) -> tuple[int, int]:
    """The most entries that one call has moved, and the fullest leaf, while a table grew."""
    moved = fullest = 0
    for number in range(entries):
        key = f"user-{number}"
        before = list(table.leaves)
        table[key] = number
        after = {id(leaf) for leaf in table.leaves}
        moved = max(moved, sum(len(leaf) for leaf in before if id(leaf) not in after))
        fullest = max(fullest, len(table.leaf(key)))
    assert all(table[f"user-{number}"] == number for number in range(entries))
    return moved, fullest


class AllAtOnce(Table[int]):
    """Splits every leaf when one has to be split, as a dictionary does."""

    __slots__ = ()

    def _grow(self) -> None:
        for _ in range(self.narrow + 1 - self.turn):
            super()._grow()


def test_one_call_moves_a_leaf_and_no_more() -> None:
    moved, fullest = grown(Table[int](), 20 * MOST)
    assert max(moved, fullest) <= 5 * MOST
    # What a dictionary would do is seen:
    moved, _ = grown(AllAtOnce(), 20 * MOST)
    assert moved > 5 * MOST
