"""A webhook's own values: small templates, like those of a mail's personalization."""

from collections.abc import Mapping

from jinja2 import TemplateError

from skene.adapters.mail.names import unknown_in_text
from skene.adapters.mail.values import Values, environment
from skene.errors import DeliveryRefused
from skene.ports.notifier import MessageContext

__all__ = ["check_words", "fill_words"]

_KNOWN = frozenset({"event", "loop", "row", "subject", "user"})
_ENVIRONMENT = environment(())


def check_words(personalization: Mapping[str, str]) -> None:
    """Refuse values that can never be filled in.

    Raises:
        ValueError: one does not compile or uses an unknown variable; all of them are named.
    """
    faults: list[str] = []
    for key, text in personalization.items():
        faults += unknown_in_text(_ENVIRONMENT, f"personalization.{key}", text, _KNOWN)
    if faults:
        raise ValueError("; ".join(faults))


def fill_words(context: MessageContext) -> dict[str, str]:
    """The values of one message.

    Raises:
        DeliveryRefused: a value is missing; the message names it, and never what others hold.
    """
    groups = {"user": context.user.model_dump(mode="json"), "event": context.event, "row": context.row}
    known = Values("", context.data).exposed() | {name: Values(name, group) for name, group in groups.items()}
    filled: dict[str, str] = {}
    for key, text in context.personalization.items():
        try:
            filled[key] = _ENVIRONMENT.from_string(text).render(known)
        except Exception as error:  # a template may raise anything; it stops this message only
            words = error.message if isinstance(error, TemplateError) else f"raised {type(error).__name__}"
            raise DeliveryRefused(f"personalization.{key}: {words}") from error
    return filled
