"""What `skene init` writes, from what it has found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, cast

from jinja2 import Environment

from skene.cli.init.apps import App, Route
from skene.cli.init.callers import Caller
from skene.cli.init.people import Sessions, Users
from skene.cli.init.samples import Sample
from skene.cli.init.settings import Settings

__all__ = ["PATTERNS", "Found", "Place", "env_example", "render_config", "render_test", "template_files"]

Pattern = Literal["freemium", "activation", "retention", "reverse-trial"]
PATTERNS: tuple[Pattern, ...] = ("freemium", "activation", "retention", "reverse-trial")

_NAMES = {
    "freemium": ["UNLIMITED", "Profile", "Skene", "action", "condition", "define_loop", "step", "trigger"],
    "activation": ["Profile", "Skene", "action", "define_loop", "step", "trigger"],
    "retention": ["Profile", "Skene", "action", "condition", "define_loop", "step", "trigger"],
    "reverse-trial": [
        *("UNLIMITED", "Profile", "Skene", "action", "condition", "define_loop", "step", "trigger", "wait")
    ],
}
_MAILS = {
    "freemium": ["upgrade_prompt"],
    "activation": ["activation_welcome"],
    "retention": ["re_engagement"],
    "reverse-trial": ["upgrade_prompt", "trial_started", "trial_ending", "trial_over"],
}
_WEEK_AGO = {"postgresql": "now() - interval '7 days'", "sqlite": "datetime('now', '-7 days')"}
_VARIABLES = (
    (
        "DATABASE_URL",
        "PostgreSQL; without it skene counts in the SQLite file skene.db.",
        "postgresql://localhost/app",
    ),
    ("STRIPE_API_KEY", "Stripe: `skene login stripe` asks for both. Without them plans are set by hand.", ""),
    ("STRIPE_WEBHOOK_SECRET", "Of the endpoint https://your.app/skene/webhooks/stripe.", ""),
    ("RESEND_API_KEY", "Resend: `skene login resend` asks for both. Without them mails go to ./outbox.", ""),
    ("SKENE_SENDER", "On a domain that is verified at Resend.", "Acme <team@acme.test>"),
    (
        "SKENE_PUBLIC_URL",
        "Where people reach your app: links in mails begin with it.",
        "https://app.acme.test",
    ),
    ("SKENE_SECRET", "Signs the links in mails, where there is no Stripe.", ""),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a project, and chosen.

    Attributes:
        app, served: the app, and `module:name` of it when it has been made; None for a factory nobody calls.
        callable_factory: the app is made by a function that a test can call.
        caller: who says who calls.
        chosen: the routes to gate; `triggers` are the methods and patterns that cover them.
        sample: a request to one of them.
    """

    pattern: Pattern
    app: App
    module: str
    served: tuple[str, str] | None
    callable_factory: bool
    caller: Caller | None
    routes: list[Route]
    chosen: list[Route]
    triggers: list[tuple[str, str]]
    sample: Sample | None
    users: Users | None
    sessions: Sessions | None
    settings: Settings

    @property
    def limited(self) -> bool:
        """Whether there is anything to count."""
        return self.pattern in ("freemium", "reverse-trial")

    @property
    def testable(self) -> bool:
        """Whether a test can get at the app."""
        return self.served is not None or self.callable_factory


@dataclass(frozen=True, slots=True)
class Place:
    """Where the configuration goes: file and module."""

    path: str
    module: str


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _python(value: Any) -> str:
    """A value as Python, with the quotes that formatters want."""
    if isinstance(value, dict):
        named = cast(Mapping[str, Any], value)
        return "{" + ", ".join(f"{_quoted(name)}: {_python(one)}" for name, one in named.items()) + "}"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _environment() -> Environment:
    # autoescape is for HTML; this writes Python.
    made = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - writes Python
    made.filters["quoted"] = _quoted
    made.filters["python"] = _python
    return made


def _render(name: str, values: Mapping[str, Any]) -> str:
    source = files("skene.cli.init").joinpath("texts", name).read_text("utf-8")
    return _environment().from_string(source).render(values)


def render_config(found: Found) -> str:
    """The text of skene_config.py."""
    imports, lines = _profile(found)
    query, known = _query(found)
    return _render(
        "config.py.jinja",
        {
            "pattern": found.pattern,
            "names": _NAMES[found.pattern]
            if found.triggers or found.pattern != "freemium"
            else _no_trigger(),
            "limited": found.limited,
            "triggers": found.triggers,
            "profile_imports": imports,
            "profile_lines": lines,
            "table_trigger": _table_trigger(found),
            "query": query,
            "query_known": known,
            "prices": found.settings.prices if found.limited else (),
        },
    )


def _no_trigger() -> list[str]:
    return [name for name in _NAMES["freemium"] if name != "trigger"]


def _table_trigger(found: Found) -> str | None:
    """A trigger on the table of the users, where skene is on the same database."""
    users, settings = found.users, found.settings
    if users is None or not settings.database_set or settings.database not in _WEEK_AGO:
        return None
    subject = "" if users.key == "id" else f", subject={_quoted(users.key)}"
    return f'trigger.database({_quoted(users.table)}, event="insert"{subject})'


def _query(found: Found) -> tuple[str, bool]:
    users = found.users
    ago = _WEEK_AGO.get(found.settings.database or "sqlite", _WEEK_AGO["sqlite"])
    if users is None or users.seen is None:
        table = users.table if users else "users"
        return f"SELECT id FROM {table} WHERE last_seen_at < {ago}", False  # noqa: S608 - written for a person to read
    key = users.key if users.key == "id" else f"{users.key} AS id"
    return f"SELECT {key} FROM {users.table} WHERE {users.seen} < {ago}", True  # noqa: S608 - as above


def _profile(found: Found) -> tuple[list[str], list[str]]:
    """The imports and the body of `load_profile`; nothing where the table of the users is not known well."""
    users, sessions, caller = found.users, found.sessions, found.caller
    if users is None or sessions is None or users.email is None:
        return [], []
    if caller is not None and caller.expression not in (None, f"user.{users.key}", f'user["{users.key}"]'):
        return [], []  # counted by something else than the key
    imports = _profile_imports(users, sessions)
    late = found.module in (users.module, sessions.module)  # which imports the configuration itself
    key = {"int": "int(subject)", "UUID": "UUID(subject)", "str": "subject"}[users.key_type]
    named = f", name=user.{users.called}" if users.called else ""
    answer = f"return None if user is None else Profile(email=user.{users.email}{named})"
    if sessions.is_async:
        lines = [
            f"async with {sessions.name}() as session:",
            f"    user = await session.get({users.name}, {key})",
            answer,
        ]
    else:
        lines = [
            "",
            "def find() -> Profile | None:",
            f"    with {sessions.name}() as session:",
            f"        user = session.get({users.name}, {key})",
            f"        {answer}",
            "",
            "return await to_thread.run_sync(find)",
        ]
        imports = [*imports, "from anyio import to_thread"]
    if users.key_type == "UUID":
        imports = [*imports, "from uuid import UUID"]
    return ([], [*imports, "", *lines]) if late else (imports, lines)


def _profile_imports(users: Users, sessions: Sessions) -> list[str]:
    if users.module == sessions.module:
        return [f"from {users.module} import {', '.join(sorted((users.name, sessions.name)))}"]
    return sorted(
        [f"from {users.module} import {users.name}", f"from {sessions.module} import {sessions.name}"]
    )


def render_test(found: Found, place: Place, subject: str, subject_module: str) -> str:
    """The text of the first test.

    Args:
        found: what was found.
        place: of the configuration.
        subject, subject_module: the dependency that the test replaces.
    """
    caller = found.caller
    app_module, app_name = found.served or (found.module, found.app.factory or found.app.name)
    names = ["FREE_CALLS"] if found.limited else []
    names += ["skene", *(["start_trial"] if found.pattern == "reverse-trial" else [])]
    return _render(
        "test.py.jinja",
        {
            "pattern": found.pattern,
            "limited": found.limited,
            "config": place.module,
            "config_path": place.path,
            "config_names": names,
            "app_module": app_module if found.testable else None,
            "app_name": app_name,
            "factory": found.served is None,
            "gated": [one for one in found.chosen if found.triggers],
            "sample": found.sample if found.testable else None,
            "subject": subject,
            "subject_module": subject_module,
            "value": _stand_in(caller),
            "price": next(iter(found.settings.prices), "price_any"),
            "table_trigger": _table_trigger(found),
            "table": found.users.table if found.users else "",
            "key": found.users.key if found.users else "",
        },
    )


def _stand_in(caller: Caller | None) -> str:
    """What the replaced dependency returns."""
    if caller is None or caller.expression is None:
        return "ADA"
    attribute = caller.expression.removeprefix("user")
    return (
        f"SimpleNamespace({attribute[1:]}=ADA)"
        if attribute.startswith(".")
        else f"{{{attribute[1:-1]}: ADA}}"
    )


def template_files(pattern: Pattern) -> dict[str, str]:
    """The mails of a pattern, to be changed: file name → text."""
    found: dict[str, str] = {}
    for name in _MAILS[pattern]:
        for folder in (files("skene.cli.init").joinpath("texts"), files("skene").joinpath("templates")):
            for suffix in (".txt", ".html"):
                file = folder.joinpath(name + suffix)
                if file.is_file():
                    found[name + suffix] = file.read_text("utf-8")
    return found


def env_example(there: str, config: str) -> str:
    """`.env.example` with the variables that it has not got yet.

    Args:
        there: its text; empty if there is none.
        config: `module:name` of the configuration, if commands cannot find it by themselves.
    """
    wanted = [*_VARIABLES]
    if config != "skene_config:skene":
        wanted.append(("SKENE_CONFIG", "Where the commands of skene find the configuration.", config))
    known = {line.lstrip("# ").partition("=")[0].strip() for line in there.splitlines()}
    lines = [f"# {comment}\n{name}={value}\n" for name, comment, value in wanted if name not in known]
    gap = "" if not there else "\n" if there.endswith("\n") else "\n\n"
    return there + gap + "".join(lines) if lines else there
