"""What the local Resend accepts: its checks, and the answers for what fails them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeGuard, cast

__all__ = ["Refusal", "Template", "fields_of", "fill", "fingerprint", "is_list", "template_of"]

_PLAIN = re.compile(r"[^\s@<>,;:\"]+@([^\s@<>,;:\"]+\.[^\s@<>,;:\".]+)")
_NAMED = re.compile(r"[^<>@\r\n]*<([^<>]+)>")
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_TOKEN = re.compile(r"[A-Za-z0-9-]+")
_VARIABLE = re.compile(r"\{\{\{\s*([A-Za-z0-9_]+)\s*\}\}\}")
_MOST_RECIPIENTS = 50
_FORMAT = "The email address needs to follow the `email@example.com` or `Name <email@example.com>` format."


class Refusal(Exception):
    """An answer that is not a success: `status`, `name` and `message` as Resend's errors have them."""

    def __init__(
        self, status: int, name: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.name = name
        self.message = message
        self.headers = dict(headers or {})
        super().__init__(f"{status} {name}: {message}")


@dataclass(slots=True)
class Template:
    """A hosted template; only a published one can be sent. `variables`: fallbacks, None where required."""

    id: str
    name: str
    html: str
    text: str | None = None
    subject: str | None = None
    sender: str | None = None
    alias: str | None = None
    variables: dict[str, str | int | None] = field(default_factory=dict[str, "str | int | None"])
    published: bool = False


def fingerprint(body: object) -> str:
    """The same for the same request body, whatever the order of its keys."""
    return sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def template_of(body: object, template_id: str) -> Template:
    """A template as `POST /templates` describes it.

    Raises:
        Refusal: 422.
    """
    given = _mapping(body)
    for required in ("name", "html"):
        if not isinstance(given.get(required), str) or not given[required]:
            raise Refusal(422, "missing_required_field", f"Missing `{required}` field.")
    variables: dict[str, str | int | None] = {}
    for variable in cast("list[Any]", given.get("variables") or []):
        entry = _mapping(variable)
        if entry.get("type") not in ("string", "number", "boolean", "object", "list") or not entry.get("key"):
            raise Refusal(
                422, "validation_error", "Invalid `variables` field. Each needs a `key` and a `type`."
            )
        variables[str(entry["key"])] = entry.get("fallback_value")
    return Template(
        template_id,
        given["name"],
        given["html"],
        given.get("text"),
        given.get("subject"),
        given.get("from"),
        given.get("alias"),
        variables,
    )


def fields_of(
    body: object, templates: Mapping[str, Template], domains: frozenset[str] | None
) -> dict[str, Any]:
    """The e-mail that a body of `POST /emails` asks for, with a hosted template filled in.

    Args:
        body: the parsed JSON.
        templates: by id and by alias.
        domains: which may be sent from; None is any.

    Raises:
        Refusal: 403 or 422, as Resend would.
    """
    given = _mapping(body)
    template = _template(given, templates)
    fields: dict[str, Any] = {
        "from": given.get("from") or (template.sender if template else None),
        "to": _addresses(given.get("to")),
        "subject": given.get("subject") or (template.subject if template else None),
        "html": given.get("html"),
        "text": given.get("text"),
    }
    for required in ("from", "to", "subject"):
        if not fields[required]:
            raise Refusal(422, "missing_required_field", f"Missing `{required}` field.")
    if template is not None:
        fields |= fill(
            template, _mapping(_mapping(given["template"]).get("variables") or {}), fields["subject"]
        )
    if not fields["html"] and not fields["text"]:
        raise Refusal(422, "missing_required_field", "Missing `html` or `text` field.")
    for name in ("subject", "html", "text"):
        if not isinstance(fields[name], str | None):
            raise Refusal(422, "validation_error", f"Invalid `{name}` field. It must be a string.")
    _check_addresses(fields["from"], fields["to"], domains)
    for name in ("cc", "bcc", "reply_to"):
        fields[name] = _addresses(given.get(name))
        _check_all(name, fields[name])
    _check_tags(given.get("tags"))
    fields["headers"] = _mapping(given.get("headers") or {})
    _check_headers(fields["headers"])
    fields["template"] = template.id if template else None
    return fields


def fill(template: Template, variables: Mapping[str, Any], subject: str) -> dict[str, Any]:
    """Subject, HTML and text of a template with its variables put in.

    Raises:
        Refusal: 422, for a variable that is neither text nor number, or that is required and missing.
    """
    for name, value in variables.items():
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise Refusal(
                422, "validation_error", f"Invalid variable `{name}`. It must be a string or a number."
            )
    values = {name: variables.get(name, fallback) for name, fallback in template.variables.items()}
    missing = sorted(name for name, value in values.items() if value is None)
    if missing:
        raise Refusal(422, "validation_error", f"Missing template variables: {', '.join(missing)}.")

    def put(text: str | None) -> str | None:
        return (
            None if text is None else _VARIABLE.sub(lambda found: str(values.get(found[1], found[0])), text)
        )

    return {"subject": put(subject), "html": put(template.html), "text": put(template.text)}


def _template(given: Mapping[str, Any], templates: Mapping[str, Template]) -> Template | None:
    if given.get("template") is None:
        return None
    if given.get("html") or given.get("text"):
        raise Refusal(422, "validation_error", "`html` and `text` cannot be given together with `template`.")
    wanted = _mapping(given["template"]).get("id")
    template = templates.get(str(wanted))
    if template is None or not template.published:
        raise Refusal(422, "validation_error", "The template was not found or is not published.")
    return template


def _check_addresses(sender: object, to: list[str], domains: frozenset[str] | None) -> None:
    domain = _domain(sender) if isinstance(sender, str) else None
    if domain is None:
        raise Refusal(422, "validation_error", f"Invalid `from` field. {_FORMAT}")
    _check_all("to", to)
    if domains is not None and domain.lower() not in domains:
        raise Refusal(403, "validation_error", f"The {domain} domain is not verified.")


def _check_all(name: str, addresses: list[str]) -> None:
    if len(addresses) > _MOST_RECIPIENTS:
        raise Refusal(
            422, "validation_error", f"Invalid `{name}` field. At most {_MOST_RECIPIENTS} addresses."
        )
    if any(_domain(address) is None for address in addresses):
        raise Refusal(422, "validation_error", f"Invalid `{name}` field. {_FORMAT}")


def _check_tags(tags: object) -> None:
    for tag in cast("list[Any]", tags or []):
        entry = _mapping(tag)
        if not all(_TAG.fullmatch(str(entry.get(part, ""))) for part in ("name", "value")):
            raise Refusal(422, "validation_error", "Tags should only contain ASCII letters, numbers, _ or -.")


def _check_headers(headers: Mapping[str, Any]) -> None:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not isinstance(value, str) or not value.isprintable():
            raise Refusal(422, "validation_error", f"Invalid `headers` field. {name[:60]!r} is not one line.")


def _domain(address: str) -> str | None:
    named = _NAMED.fullmatch(address.strip())
    plain = _PLAIN.fullmatch((named[1] if named else address).strip())
    return plain[1] if plain else None


def _addresses(value: object) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in (value if is_list(value) else [value])]


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether it is a JSON array."""
    return isinstance(value, list)


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(422, "validation_error", "An object was expected.")
    return cast("dict[str, Any]", value)
