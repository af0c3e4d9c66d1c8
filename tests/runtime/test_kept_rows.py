"""What is kept of the rows that queries find."""

from typing import Any

from skene import action, condition, define_loop, step, trigger
from skene.engine.secrets import LONGEST_COPY, copied
from tests.runtime.shop import Shop
from tests.runtime.test_firing_lanes import digest, next_tick, nothing

ROW: dict[str, Any] = {
    "id": "ada",
    "name": "Ada",
    "password_hash": "$2b$hidden",
    "apiToken": "hidden too",
    "avatar": "x" * (LONGEST_COPY + 1),
}


def kept_by(shop: Shop) -> str:
    """All that the shop's storage has of anybody."""
    return repr(list(shop.memory._state.messages.values())) + repr(shop.memory.waiting())  # pyright: ignore[reportPrivateUsage] - no verb shows it


async def drain(shop: Shop) -> None:
    while await shop.skene.worker.react_once():
        pass


async def test_select_star_copies_no_secret() -> None:
    """Decision 31: the usual query is SELECT * FROM users, and a message is kept for years."""
    sql = "SELECT * FROM users"
    shop = Shop(digest(sql=sql))
    shop.memory.queries.answer(sql, [ROW])
    await next_tick(shop)
    await drain(shop)
    assert "Ada" in kept_by(shop)
    assert "hidden" not in kept_by(shop)
    assert len(kept_by(shop)) < LONGEST_COPY


async def test_neither_does_a_query_after_an_event() -> None:
    sql = "SELECT * FROM users WHERE id = $1"
    of = condition.query(sql)
    loop = define_loop(
        type="activation",
        steps=[step(trigger=trigger.event("begins"), condition=of, action=action.function(nothing))],
    )
    shop = Shop(loop)
    shop.memory.queries.answer(sql, [ROW])
    await shop.skene.emit("begins", "ada")
    await drain(shop)
    assert "Ada" in kept_by(shop)
    assert "hidden" not in kept_by(shop)


def test_what_a_query_names_is_wanted() -> None:
    """An invitation has its token in the link."""
    named = copied(ROW, 'SELECT *, u.password_hash, "apiToken", avatar FROM users AS u')
    assert named == ROW
    assert list(copied(ROW, "SELECT * FROM users -- password_hash")) == ["id", "name"]
