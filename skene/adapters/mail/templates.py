"""E-mails from local Jinja templates: found, checked, rendered, and made safe to send.

A template called `welcome` is a file `welcome.txt` and, beside it, usually a `welcome.html`. The text part
sets the subject: `{% set subject = "Welcome" %}`, or `{% set subject %}…{% endset %}` around several words;
the HTML part can use it. The user's folder is searched first, then the templates that ship with skene; a
template is taken whole from the first place that has either part, so that nobody's text is sent with somebody
else's HTML.
"""

import re
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, Template, TemplateError, TemplateSyntaxError
from jinja2.environment import TemplateModule
from pydantic import JsonValue

from skene.adapters.mail.links import unsafe_link
from skene.adapters.mail.message import Mail, recipient, unsubscribe_headers
from skene.adapters.mail.names import unknown_in_file, unknown_in_text
from skene.adapters.mail.values import Sample, Values, environment, sample_user
from skene.errors import DeliveryRefused
from skene.ports.notifier import About, MessageContext

__all__ = ["SAMPLES", "Filled", "Rendered", "Templates"]

_PACKAGED = Path(__file__).resolve().parents[2] / "templates"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_SHARED = {"skene_footer", "skene_layout", "skene_parts"}
_LARGEST = 500_000
_UNUSABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
KEPT = 256
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
SAMPLES: Mapping[About, dict[str, JsonValue]] = {
    "limit": _SAMPLE,
    "loop": {
        "loop": "activation",
        "upgrade_url": "https://app.acme.test/skene/upgrade?t=sample",
        "unsubscribe_url": "https://app.acme.test/skene/unsubscribe?token=sample",
    },
}
"""What is put in while a template is checked or shown, by what the message is about."""

_KNOWN: Mapping[About, frozenset[str]] = {
    "limit": frozenset({"user", *SAMPLES["limit"]}),
    "loop": frozenset({"user", "event", "row", *SAMPLES["loop"]}),
}


@dataclass(frozen=True, slots=True)
class Filled:
    """The loop's own words, filled in: `subject` is one line, or None for the template's own."""

    subject: str | None
    personalization: Mapping[str, str]


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
        # A loop says the same few words in every mail; compiling them costs more than filling them in.
        self._compiled: Callable[[str], Template] = lru_cache(KEPT)(self._environment.from_string)

    def check(
        self,
        name: str,
        *,
        subject_line: str | None = None,
        personalization: Mapping[str, str] | None = None,
        about: About = "limit",
    ) -> None:
        """Refuse a template that cannot be sent; see `Notifier.check`.

        Raises:
            LookupError: there is no such template.
            ValueError: it does not compile, uses an unknown variable, or lacks a subject or text part.
        """
        known = _KNOWN[about].union(personalization or {})
        text, *html = self._parts(name)
        faults = list(unknown_in_file(self._environment, text, known))
        for part in html:
            faults += unknown_in_file(self._environment, part, known | {"subject"})
        if faults:
            raise ValueError("; ".join(faults))
        self.check_own(subject_line=subject_line, personalization=personalization, about=about)
        with _sample(about) as values:
            self._render(name, values, self._fill(subject_line, personalization or {}, values))

    def check_own(
        self,
        *,
        subject_line: str | None = None,
        personalization: Mapping[str, str] | None = None,
        about: About = "limit",
    ) -> None:
        """Refuse a subject line or variables that cannot be filled in.

        Raises:
            ValueError: one does not compile or uses an unknown variable.
        """
        small = {f"personalization.{key}": text for key, text in (personalization or {}).items()}
        faults: list[str] = []
        for where, source in {"subject": subject_line or "", **small}.items():
            faults += unknown_in_text(self._environment, where, source, _KNOWN[about])
        if faults:
            raise ValueError("; ".join(faults))
        with _sample(about) as values:
            self._fill(subject_line, personalization or {}, values)

    def fill(self, context: MessageContext) -> Filled:
        """Fill in the subject line and the personalization alone.

        Raises:
            DeliveryRefused: a value is missing, or the subject would not be one line.
        """
        return self._fill(context.subject_line, context.personalization, _context_values(context))

    def render(self, context: MessageContext) -> Rendered:
        """Fill a template in; the same context gives the same result.

        Raises:
            DeliveryRefused: a value is missing, a header would be broken up, or a link is not to the web.
        """
        values = _context_values(context)
        try:
            return self._render(context.template, values, self.fill(context))
        except (LookupError, ValueError) as error:
            raise DeliveryRefused(str(error)) from error

    def mail(self, context: MessageContext, sender: str, reply_to: str | None = None) -> Mail:
        """Render a context to a mail from `sender`.

        Raises:
            DeliveryRefused: as `render`, or the recipient's address or the unsubscribe link is not one.
        """
        to, headers = recipient(context), unsubscribe_headers(context)
        done = self.render(context)
        return Mail(sender, to, done.subject, done.text, done.html, reply_to, context.template, headers)

    def _parts(self, name: str) -> tuple[str, ...]:
        if not _NAME.fullmatch(name):
            raise ValueError(f"template name {name[:60]!r} is not allowed; give one like 'upgrade_prompt'")
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

    def _names(self) -> set[str]:
        files = (path.relative_to(place) for place in self._places for path in place.rglob("*.txt"))
        return {file.with_suffix("").as_posix() for file in files} - _SHARED

    def _render(self, name: str, values: Mapping[str, object], filled: Filled) -> Rendered:
        text_part, *html_part = self._parts(name)
        values = {**values, **filled.personalization}
        module = self._module(text_part, values)
        own: object = getattr(module, "subject", None)
        subject = filled.subject or (_one_line(own) if isinstance(own, str) else "")
        if not subject:
            raise ValueError(f'{text_part} sets no subject; put {{% set subject = "…" %}} on its first line')
        text, html = _tidy(str(module)), None
        _refuse_unusable(text_part, text)
        for part in html_part:
            html = str(self._module(part, {**values, "subject": subject}))
            _refuse_unusable(part, html)
        return Rendered(subject, text, html)

    def _fill(
        self, subject_line: str | None, personalization: Mapping[str, str], values: Mapping[str, object]
    ) -> Filled:
        filled = {
            key: self._small(f"personalization.{key}", text, values) for key, text in personalization.items()
        }
        if subject_line is None:
            return Filled(None, filled)
        return Filled(_one_line(self._small("subject", subject_line, values)), filled)

    def _module(self, part: str, values: Mapping[str, object]) -> TemplateModule:
        try:
            try:
                return self._environment.get_template(part).make_module(dict(values))
            except Exception:  # noqa: BLE001 - raised again at once, with the template's own lines
                self._environment.handle_exception()
        except Exception as error:  # a template may raise anything; it stops this message only
            raise _refusal(part, error) from error

    def _small(self, where: str, source: str, values: Mapping[str, object]) -> str:
        try:
            return self._compiled(source).render(dict(values))
        except Exception as error:  # as above
            raise _refusal(where, error) from error


def _values(data: Mapping[str, JsonValue], *named: Values) -> dict[str, object]:
    return {**Values("", data).exposed(), **{values.path: values for values in named}}


def _context_values(context: MessageContext) -> dict[str, object]:
    return _values(
        {**context.data, "unsubscribe_url": context.unsubscribe_url},
        Values("user", context.user.model_dump(mode="json")),
        Values("event", context.event),
        Values("row", context.row),
    )


@contextmanager
def _sample(about: About) -> Generator[dict[str, object]]:
    """Values of which anything known can be asked; what they stop is turned into a template's fault."""
    unknown = [Sample("event"), Sample("row")] if about == "loop" else []
    samples = [sample_user(), *unknown]
    try:
        yield _values(SAMPLES[about], *samples)
    except DeliveryRefused as error:
        # What a profile, a row or a payload holds is not known yet: its types cannot be wrong.
        guessed = any(sample.guessed for sample in samples)
        if not (guessed and isinstance(error.__cause__, (TypeError, ValueError, ArithmeticError))):
            raise ValueError(str(error)) from error


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
    if _UNUSABLE.search(content):
        raise DeliveryRefused(f"{part}: a value holds a control character or half a character")
    if len(content) > _LARGEST:
        raise DeliveryRefused(f"{part}: {len(content)} characters are too many; at most {_LARGEST}")
    problem = unsafe_link(content) if part.endswith(".html") else None
    if problem is not None:
        raise DeliveryRefused(f"{part}: {problem}")
