"""E-mails from local Jinja templates: found, checked, rendered, and made safe to send.

A template called `welcome` is a file `welcome.txt` and, beside it, usually a `welcome.html`. The text part
sets the subject: `{% set subject = "Welcome" %}`, or `{% set subject %}…{% endset %}` around several words; the
HTML part can use it. The user's folder is searched first, then the templates that ship with skene; a template is
taken whole from the first place that has either part, so that nobody's text is sent with somebody else's HTML.
"""

import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from jinja2 import Environment, TemplateError, TemplateNotFound, TemplateSyntaxError, meta, nodes
from jinja2.environment import TemplateModule
from pydantic import JsonValue

from skene.adapters.links import unsafe_link
from skene.adapters.mail import Mail, address
from skene.adapters.values import SampleUser, Values, environment
from skene.errors import DeliveryRefused
from skene.ports.notifier import MessageContext

__all__ = ["Rendered", "Templates"]

_PACKAGED = Path(__file__).resolve().parents[1] / "templates"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_LAYOUT = "skene_layout"
_LARGEST = 500_000
_SAMPLE: dict[str, JsonValue] = {
    "message": "You've reached your free tier limit. Upgrade to continue.",
    "loop": "freemium",
    "meter": "freemium",
    "plan": "free",
    "limit": 100,
    "used": 100,
    "remaining": 0,
    "period": "30d",
    "resets_at": "2026-12-23T14:05:00+00:00",
    "upgrade_url": "https://app.acme.test/skene/upgrade?t=sample",
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """What came out of a template: `subject` is one line; without an HTML part, `html` is None."""

    subject: str
    text: str
    html: str | None


class Templates:
    """The templates of one folder, and behind them those of the package."""

    def __init__(self, folder: str | Path = "templates") -> None:
        """Takes the user's folder, relative to the working directory; it need not exist."""
        self._places = (Path(folder).absolute(), _PACKAGED)
        self._environment: Environment = environment(self._places)

    def check(
        self,
        name: str,
        *,
        subject_line: str | None = None,
        personalization: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse a template that cannot be sent; see `Notifier.check`.

        Raises:
            LookupError: there is no such template.
            ValueError: it does not compile, uses an unknown variable, or lacks a subject or text part.
        """
        extra = dict(personalization or {})
        faults: list[str] = []
        for part in self._parts(name):
            own = () if part.endswith(".txt") else ("subject",)
            faults += self._unknown(part, {"user", *_SAMPLE, *extra, *own})
        small = {f"personalization.{key}": text for key, text in extra.items()}
        for where, source in {"subject": subject_line or "", **small}.items():
            faults += self._unknown_in(where, source, {"user", *_SAMPLE}, set())
        if faults:
            raise ValueError("; ".join(faults))
        user = SampleUser()
        try:
            self._render(name, subject_line, extra, user, _SAMPLE)
        except DeliveryRefused as error:
            # What a profile holds besides e-mail and name is not known yet: its types cannot be wrong.
            if not (user.guessed and isinstance(error.__cause__, (TypeError, ValueError, ArithmeticError))):
                raise ValueError(str(error)) from error

    def render(self, context: MessageContext) -> Rendered:
        """Fill a template in; the same context gives the same result.

        Raises:
            DeliveryRefused: a value is missing, a header would be broken up, or a link is not to the web.
        """
        user = Values("user", context.user.model_dump(mode="json"))
        try:
            return self._render(
                context.template, context.subject_line, context.personalization, user, context.data
            )
        except (LookupError, ValueError) as error:
            raise DeliveryRefused(str(error)) from error

    def mail(self, context: MessageContext, sender: str, reply_to: str | None = None) -> Mail:
        """Render a context to a mail from `sender`.

        Raises:
            DeliveryRefused: as `render`, or the recipient's address is not one.
        """
        to = address(context.user.email or "")
        if to is None:
            raise DeliveryRefused("the recipient's e-mail address is missing or not a single valid address")
        done = self.render(context)
        return Mail(sender, to, done.subject, done.text, done.html, reply_to, context.template)

    def _parts(self, name: str) -> tuple[str, ...]:
        if not _NAME.fullmatch(name) or ".." in name:
            raise ValueError(
                f"the template name {name[:60]!r} is not allowed; give one like 'upgrade_prompt'"
            )
        for place in self._places:
            text, html = (place / f"{name}{suffix}" for suffix in (".txt", ".html"))
            if text.is_file():
                return (f"{name}.txt", f"{name}.html") if html.is_file() else (f"{name}.txt",)
            if html.is_file():
                raise ValueError(f"{html} has no text part; add {text.name} beside it, with the subject")
        searched = " and ".join(str(place) for place in self._places)
        near = get_close_matches(name, self._names(), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise LookupError(f"there is no template {name!r} ({name}.txt): searched {searched}{hint}")

    def _names(self) -> list[str]:
        found = (
            path.relative_to(place).with_suffix("").as_posix()
            for place in self._places
            for path in sorted(place.rglob("*.txt"))
        )
        return sorted({name for name in found if name != _LAYOUT})

    def _unknown(self, part: str, known: set[str]) -> Iterator[str]:
        """Variables of a file, and of those it extends or includes, that nothing will ever fill."""
        waiting, seen = [part], {part}
        while waiting:
            file = waiting.pop()
            try:
                source = self._source(file)
                self._environment.get_template(file)
            except TemplateSyntaxError as error:
                raise ValueError(f"{error.name or file}, line {error.lineno}: {error.message}") from error
            except TemplateNotFound as error:
                raise ValueError(f"{part} needs {error.name}, and no template folder has it") from error
            referenced: set[str] = set()
            yield from self._unknown_in(file, source, known, referenced)
            waiting += referenced - seen
            seen |= referenced

    def _unknown_in(self, where: str, source: str, known: set[str], referenced: set[str]) -> Iterator[str]:
        try:
            tree = self._environment.parse(source)
            known |= _assigned(tree)  # on the top level, so that blocks and layouts see it too
            unknown = meta.find_undeclared_variables(tree) - known - set(self._environment.globals)
        except TemplateSyntaxError as error:
            raise ValueError(f"{where}, line {error.lineno}: {error.message}") from error
        referenced |= {file for file in meta.find_referenced_templates(tree) if file is not None}
        for name in sorted(unknown):
            line = next((node.lineno for node in tree.find_all(nodes.Name) if node.name == name), 1)
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            listed = ", ".join(sorted(known))
            yield f"{where}, line {line}: unknown variable {name!r}; known are {listed}{hint}"

    def _source(self, file: str) -> str:
        loader = self._environment.loader
        assert loader is not None  # noqa: S101 - environment() always gives one
        try:
            return loader.get_source(self._environment, file)[0]
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is not UTF-8") from error

    def _render(
        self,
        name: str,
        subject_line: str | None,
        personalization: Mapping[str, str],
        user: Values,
        data: Mapping[str, JsonValue],
    ) -> Rendered:
        parts = self._parts(name)
        values = {**Values("", data).exposed(), "user": user}
        values |= {
            key: self._small(f"personalization.{key}", text, values)
            for key, text in personalization.items()
            if key != "user"
        }
        module = self._module(parts[0], values)
        given = getattr(module, "subject", None)
        if subject_line is not None:
            given = self._small("subject", subject_line, values)
        if not isinstance(given, str) or not given.strip():
            raise ValueError(f'{parts[0]} sets no subject; put {{% set subject = "…" %}} on its first line')
        subject = _one_line(given)
        text = _tidy(str(module))
        html = str(self._module(parts[1], {**values, "subject": subject})) if len(parts) > 1 else None
        for part, content in zip(parts, (text, html or ""), strict=False):
            _refuse_unusable(part, content)
        return Rendered(subject, text, html)

    def _module(self, part: str, values: Mapping[str, object]) -> TemplateModule:
        try:
            return self._environment.get_template(part).make_module(dict(values))
        except Exception as error:  # a template may raise anything; it stops this message only
            raise _refusal(part, error) from error

    def _small(self, where: str, source: str, values: Mapping[str, object]) -> str:
        try:
            return self._environment.from_string(source).render(dict(values))
        except Exception as error:  # as above
            raise _refusal(where, error) from error


def _assigned(tree: nodes.Template) -> set[str]:
    """Names that a file gives a value to on its top level."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case nodes.Import(target=name) | nodes.Macro(name=name):
                names.add(name)
            case nodes.FromImport():
                names |= {name if isinstance(name, str) else name[1] for name in node.names}
            case nodes.Assign() | nodes.AssignBlock():
                names |= {target.name for target in node.find_all(nodes.Name) if target.ctx == "store"}
            case _:
                pass
    return names


def _refusal(where: str, error: Exception) -> DeliveryRefused:
    """The error, with its place; never with a value, which may be somebody's name or address."""
    if isinstance(error, TemplateSyntaxError):
        return DeliveryRefused(f"{error.name or where}, line {error.lineno}: {error.message}")
    stack = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in stack if frame.filename.endswith((".txt", ".html"))]
    place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else where
    words = error.message if isinstance(error, TemplateError) else f"raised {type(error).__name__}"
    return DeliveryRefused(f"{place}: {words}")


def _one_line(subject: str) -> str:
    line = subject.strip()
    if not line.isprintable():
        raise DeliveryRefused("the subject would contain a line break or a control character")
    if len(line) > 250:
        raise DeliveryRefused(f"the subject has {len(line)} characters; at most 250 are allowed")
    return line


def _tidy(text: str) -> str:
    """The text without the gaps that tags leave behind."""
    lines = (line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _refuse_unusable(part: str, content: str) -> None:
    if any((ord(c) < 32 and c not in "\t\n\r") or "\ud800" <= c <= "\udfff" for c in content):
        raise DeliveryRefused(f"{part}: a value holds a control character or half a character")
    if len(content) > _LARGEST:
        raise DeliveryRefused(f"{part}: {len(content)} characters are too many; at most {_LARGEST}")
    problem = unsafe_link(content) if part.endswith(".html") else None
    if problem is not None:
        raise DeliveryRefused(f"{part}: {problem}")
