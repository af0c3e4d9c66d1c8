"""What an app is configured with: its database, Stripe's keys and prices; keys by name, never by value."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from skene.cli.init.source import Source, is_test

__all__ = ["Settings", "find_settings"]

_PRICE = re.compile(r"price_\w{4,}")
_URL = re.compile(r"(?P<kind>[a-z]+)(?:\+\w+)?://")
_STRIPE_KEY = re.compile(r"(?:sk|rk)_(?P<mode>live|test)_")


@dataclass(frozen=True, slots=True)
class Settings:
    """What was found.

    Attributes:
        database: `postgresql`, `sqlite`, …: as DATABASE_URL or the app's own engine say, or None.
        database_set: DATABASE_URL is set, so that skene will use it, too.
        sqlalchemy: the app uses SQLAlchemy or SQLModel.
        stripe: the names of variables with Stripe keys, each with `live` or `test`.
        prices: ids of Stripe prices.
        variables: the names of all variables that are set.
    """

    database: str | None
    database_set: bool
    sqlalchemy: bool
    stripe: Mapping[str, str]
    prices: tuple[str, ...]
    variables: frozenset[str]


def find_settings(source: Source, environment: Mapping[str, str]) -> Settings:
    """Look into source and environment.

    Args:
        source: the project's.
        environment: variables, with those of `.env`.
    """
    trees = [module.tree for module in source.modules.values() if not is_test(module.path)]
    texts = [
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    given = environment.get("DATABASE_URL", "")
    return Settings(
        database=_kind([given] if given else texts),
        database_set=bool(given),
        sqlalchemy=any(
            name.split(".")[0] in ("sqlalchemy", "sqlmodel")
            for module in source.modules.values()
            for name in module.names.values()
        ),
        stripe={
            name: found["mode"]
            for name, value in sorted(environment.items())
            if (found := _STRIPE_KEY.match(value.strip()))
        },
        prices=tuple(
            dict.fromkeys(
                one for one in [*environment.values(), *texts] if _PRICE.fullmatch(one) and len(one) < 100
            )
        ),
        variables=frozenset(name for name, value in environment.items() if value.strip()),
    )


def _kind(texts: list[str]) -> str | None:
    for text in texts:
        found = _URL.match(text.strip())
        kind = {"postgres": "postgresql"}.get(found["kind"], found["kind"]) if found else None
        if kind in ("postgresql", "sqlite", "mysql", "mariadb", "oracle", "mssql"):
            return kind
    return None
