"""What of a user's row is kept, and what is nobody's business."""

import pytest

from skene.engine.secrets import LONGEST_COPY, copied, is_secret

ROW = {"id": 1, "name": "Ada", "password_hash": "x", "apiKey": "k", "bio": "b" * (LONGEST_COPY + 1)}


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "passwd",
        "PasswordHash",
        "reset_token",
        "api_key",
        "apiKey",
        "card_number",
        "iban",
        "totp2",
    ],
)
def test_names_that_sound_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["id", "name", "passenger", "compass", "pinned", "key", "cardinal", "email"])
def test_names_that_do_not(name: str) -> None:
    assert not is_secret(name)


def test_a_star_takes_neither_secrets_nor_long_values() -> None:
    assert copied(ROW, "SELECT * FROM users") == {"id": 1, "name": "Ada"}
    assert copied({"n": 10**12_000}, "SELECT * FROM users") == {"n": 10**12_000}  # only text grows long


def test_what_the_query_names_is_meant() -> None:
    found = copied(ROW, 'SELECT id, bio, "apiKey", Password_Hash FROM users')
    assert found == ROW
    assert "password_hash" not in copied(ROW, "SELECT * FROM users WHERE name = 'password_hash'")
