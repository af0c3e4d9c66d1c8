"""Finds the table of an app's users: its model, the columns that mails need, and how sessions are opened."""

import ast
import re
from dataclasses import dataclass

from skene.cli.init.source import Module, Source, is_test, targets

__all__ = ["Sessions", "Users", "find_sessions", "find_users"]

_TABLES = ("users", "user", "accounts", "account", "members", "customers")
_EMAILS = ("email", "email_address", "mail")
_NAMES = ("name", "full_name", "display_name", "first_name", "username")
_SEEN = ("last_seen_at", "last_seen", "last_activity_at", "last_active_at", "last_login_at", "last_login")
_MAKERS = {"async_sessionmaker": True, "sessionmaker": False, "async_scoped_session": True}


@dataclass(frozen=True, slots=True)
class Users:
    """The model of the users.

    Attributes:
        module, name: of the class.
        table: in the database.
        key: the column of the id.
        key_type: `int`, `UUID` or `str`: what its ids are.
        email, called, seen: the columns with the address, the name and when they were here last, if there.
    """

    module: str
    name: str
    table: str
    key: str
    key_type: str
    email: str | None
    called: str | None
    seen: str | None


@dataclass(frozen=True, slots=True)
class Sessions:
    """What opens sessions: `async_sessionmaker(…)` or `sessionmaker(…)`, at the top level of a module."""

    module: str
    name: str
    is_async: bool


def find_users(source: Source) -> Users | None:
    """The SQLAlchemy or SQLModel class that is mapped to the users."""
    found: list[Users] = []
    for module in source.modules.values():
        if not is_test(module.path):
            found += [
                one
                for node in module.tree.body
                if isinstance(node, ast.ClassDef)
                for one in _users(module, node)
            ]
    return min(found, key=lambda one: _TABLES.index(one.table), default=None)


def _users(module: Module, node: ast.ClassDef) -> list[Users]:
    columns: dict[str, str] = {}
    table = node.name.lower() if _is_sqlmodel_table(node) else None
    for statement in node.body:
        for name in targets(statement):
            value = getattr(statement, "value", None)
            if name == "__tablename__" and isinstance(value, ast.Constant):
                table = str(value.value)
            elif not name.startswith("_") and isinstance(statement, ast.Assign | ast.AnnAssign):
                columns[name] = ast.unparse(statement)
    if table not in _TABLES or not columns:
        return []
    keys = [name for name, text in columns.items() if "primary_key=True" in text] or ["id"]
    kind = columns.get(keys[0], "")
    key_type = (
        "UUID"
        if re.search(r"uuid", kind, re.IGNORECASE)
        else "str"
        if re.search(r"\bstr\b|String", kind)
        else "int"
    )
    email, called, seen = (_one(columns, names) for names in (_EMAILS, _NAMES, _SEEN))
    return [Users(module.name, node.name, table, keys[0], key_type, email, called, seen)]


def _is_sqlmodel_table(node: ast.ClassDef) -> bool:
    return any(
        one.arg == "table" and isinstance(one.value, ast.Constant) and one.value.value is True
        for one in node.keywords
    )


def _one(columns: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in columns), None)


def find_sessions(source: Source) -> Sessions | None:
    """What opens the app's database sessions; an asynchronous one if there are both."""
    found: list[Sessions] = []
    for module in source.modules.values():
        if is_test(module.path):
            continue
        for name, node in module.tops.items():
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if isinstance(value, ast.Call):
                function = value.func.value if isinstance(value.func, ast.Subscript) else value.func
                maker = (source.meaning(module, function) or "").rpartition(".")[2]
                if maker in _MAKERS:
                    is_async = _MAKERS[maker] or "AsyncSession" in ast.unparse(value)
                    found.append(Sessions(module.name, name, is_async))
    return next(iter(sorted(found, key=lambda one: not one.is_async)), None)
