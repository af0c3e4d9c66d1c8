"""`skene mail`: what a mail will look like."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.loading import DEFAULT, ConfigOption, LoadError, find_config, load_skene
from skene.cli.output import JsonOption, examples, print_json, say
from skene.definitions.faults import did_you_mean
from skene.errors import DeliveryRefused

if TYPE_CHECKING:
    from pydantic import JsonValue

    from skene.ports.notifier import About, Body, MessageContext, Notifier

__all__ = ["commands"]

commands = typer.Typer(name="mail", help="See what a mail will look like.", rich_markup_mode=None)

_FOLDER = "outbox"
_LINK = "https://app.acme.test"
# What the packaged templates can be given by a loop's personalization.
_WORDS: dict[str, dict[str, str]] = {
    "activation_welcome": {"activationLink": f"{_LINK}/projects/first"},
    "re_engagement": {"lastActivity": "2026-03-01", "returnLink": f"{_LINK}/projects"},
    "trial_ending": {"ends_at": "2026-12-23", "upgradeUrl": f"{_LINK}/upgrade"},
}


@dataclass(slots=True)
class _Given:
    """The sample values that were given, by where a template finds them."""

    user: dict[str, "JsonValue"] = field(default_factory=dict[str, "JsonValue"])
    event: dict[str, "JsonValue"] = field(default_factory=dict[str, "JsonValue"])
    row: dict[str, "JsonValue"] = field(default_factory=dict[str, "JsonValue"])
    data: dict[str, "JsonValue"] = field(default_factory=dict[str, "JsonValue"])
    words: dict[str, str] = field(default_factory=dict[str, str])


@commands.callback(invoke_without_command=True)
def mail(context: typer.Context) -> None:
    """See what a mail will look like."""
    if context.invoked_subcommand is None:
        say(context.get_help())


@commands.command(
    epilog=examples(
        "skene mail preview activation_welcome",
        "skene mail preview welcome --value name=Ada --value event.plan=pro --user team=Blue",
        "skene mail preview upgrade_prompt --value used=80 --provider resend --out prompt.html",
        codes="there is no such template, or it cannot be sent; standard error says where and why",
    )
)
@guarded
def preview(
    template: Annotated[str, typer.Argument(metavar="TEMPLATE", help="Its name, as in action.email(…).")],
    value: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A variable; event.NAME and row.NAME too. Repeatable."),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What the profile holds: {{ user.NAME }}. Repeatable."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of your notifiers; else the first.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Where the HTML goes; else outbox/preview-TEMPLATE.html."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Show a mail with sample values.

    The text comes here, the HTML into a file. Nothing is sent. Without a configuration, templates/ in this
    folder and skene's own templates are used.
    """
    given = _read(template, value or (), user or ())
    name, notifier = _notifier(provider, config)
    about = _about(notifier, template, given)
    body = _rendered(notifier, template, about, given)
    html = _write(out or Path(_FOLDER) / _file_name(template), body.get("html"))
    shown = {
        "template": template,
        "about": about,
        "provider": name,
        "subject": body.get("subject"),
        "text": body.get("text"),
        "html": str(html) if html else None,
        "variables": _variables(body),
    }
    if as_json:
        print_json(shown)
    else:
        _print(shown)


def _read(template: str, values: Iterable[str], user: Iterable[str]) -> _Given:
    from skene.adapters.mail.templates import SAMPLES

    given = _Given(words=dict(_WORDS.get(template, {})))
    for option, texts in (("--value", values), ("--user", user)):
        for text in texts:
            key, equals, said = text.partition("=")
            if not equals or not re.fullmatch(r"\w+(\.\w+)*", key):
                raise CommandError(f"{option}: got {text!r}; give NAME=VALUE such as name=Ada")
            first, _, rest = key.partition(".")
            if option == "--user":
                _put(given.user, key, said)
            elif rest and first in ("event", "row"):
                _put(getattr(given, first), rest, said)
            elif rest:
                hint = f"; did you mean --user {rest}={said}?" if first == "user" else ""
                raise CommandError(f"--value: got {key!r}; only event and row have parts{hint}")
            elif key in SAMPLES["limit"] or key in SAMPLES["loop"]:
                given.data[key] = _plain(said)
            else:
                given.words[key] = said
    return given


def _put(values: dict[str, "JsonValue"], key: str, said: str) -> None:
    *parts, last = key.split(".")
    for part in parts:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise CommandError(f"{key}: {part!r} was given a value, so it has no parts")
        values = inner
    values[last] = _plain(said)


def _plain(said: str) -> "JsonValue":
    """A number, true, false, null, a list or an object as JSON writes them; anything else is text."""
    try:
        return cast("JsonValue", json.loads(said))
    except (ValueError, RecursionError):
        return said


def _notifier(provider: str | None, config: str | None) -> tuple[str | None, "Notifier"]:
    known: Mapping[str, Notifier] = {}
    try:
        known = load_skene(config).notifiers
    except LoadError as error:
        if not error.missing or config is not None or find_config(None) != DEFAULT:
            raise
    if provider is not None and provider not in known:
        there = f"{', '.join(known) or 'none'}{did_you_mean(provider, known)}"
        raise CommandError(f"--provider: no notifier is called {provider!r}; there are: {there}")
    if known:
        name = provider or next(iter(known))
        return name, known[name]
    from skene.adapters.file import FileNotifier

    return None, FileNotifier(_FOLDER)


def _about(notifier: "Notifier", template: str, given: _Given) -> "About":
    """What the template is about: whichever it can be sent for; if neither, what it comes closer to."""
    errors: list[str] = []
    kinds: tuple[About, ...] = ("loop", "limit")
    for about in kinds:
        try:
            notifier.check(template, personalization=given.words, about=about)
        except LookupError as error:
            raise CommandError(str(error.args[0])) from error
        except ValueError as error:
            errors.append(str(error))
        else:
            return about
    said = min(errors, key=lambda words: words.count("unknown variable"))
    hint = "\n  what a loop's personalization adds is given with --value NAME=VALUE"
    raise CommandError(f"{template}: {said}{hint if 'unknown variable' in said else ''}")


def _rendered(notifier: "Notifier", template: str, about: "About", given: _Given) -> "Body":
    try:
        return notifier.render(_context(template, about, given))
    except DeliveryRefused as error:
        hint = "a sample is given with --user NAME=VALUE, --value event.NAME=VALUE or --value row.NAME=VALUE"
        raise CommandError(f"{template}: {error}\n  {hint}") from error


def _context(template: str, about: "About", given: _Given) -> "MessageContext":
    from skene.adapters.mail.templates import SAMPLES
    from skene.ports.notifier import MessageContext, Profile

    data = {**SAMPLES[about], **given.data}
    unsubscribe = data.pop("unsubscribe_url", None)
    return MessageContext(
        template=template,
        user=Profile.model_validate({"email": "ada@acme.test", "name": "Ada", **given.user}),
        data=data,
        personalization=given.words,
        event=given.event,
        row=given.row,
        unsubscribe_url=None if unsubscribe is None else str(unsubscribe),
    )


def _file_name(template: str) -> str:
    return f"preview-{re.sub(r'[^A-Za-z0-9_-]+', '-', template)}.html"


def _write(path: Path, html: object) -> Path | None:
    if not isinstance(html, str):
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, "utf-8")
    except OSError as error:
        raise CommandError(f"--out: {path} cannot be written: {error.strerror}") from error
    return path


def _variables(body: "Body") -> dict[str, Any]:
    """What a template that is hosted elsewhere is given."""
    match body.get("template"):
        case {"variables": dict() as variables}:
            return variables
        case _:
            return {}


def _print(shown: dict[str, Any]) -> None:
    if shown["subject"] is not None:
        say(f"Subject: {shown['subject']}\n")
    if shown["text"] is None:
        say(f"{shown['template']} is hosted by the provider; look at it there. It is given:")
        for name, value in shown["variables"].items():
            say(f"  {name} = {value}")
        return
    say(shown["text"])
    say(f"HTML: {shown['html']}" if shown["html"] else "There is no HTML part.")
