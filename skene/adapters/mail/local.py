"""What the notifiers with local templates have in common: all but the sending."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from skene.adapters.mail.message import sender_faults
from skene.adapters.mail.templates import Templates
from skene.definitions.faults import Fault
from skene.errors import ConfigurationError
from skene.ports.notifier import About, Body, MessageContext

__all__ = ["LocalNotifier"]


class LocalNotifier:
    """Checks and renders local templates; a subclass sends.

    Args:
        sender: `Name <address>` or an address.
        templates: the folder of local templates.
        reply_to: where answers go, if not to the sender.
        faults: what the subclass found wrong with its own settings.

    Raises:
        ConfigurationError: a setting cannot work; all of them are named.
    """

    def __init__(
        self,
        sender: str,
        templates: str | Path,
        *,
        reply_to: str | None = None,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        name = type(self).__name__
        found = [*faults, *sender_faults(f"{name}.sender", sender)]
        if reply_to is not None:
            found += sender_faults(f"{name}.reply_to", reply_to)
        if found:
            raise ConfigurationError(found)
        self._sender = sender.strip()
        self._reply_to = reply_to
        self._templates = Templates(templates)

    @property
    def pace(self) -> timedelta | None:
        """As fast as they come, unless a subclass knows of a limit."""
        return None

    def check(
        self,
        template: str,
        *,
        subject_line: str | None = None,
        personalization: Mapping[str, str] | None = None,
        about: About = "limit",
    ) -> None:
        """See `Notifier.check`."""
        self._templates.check(
            template, subject_line=subject_line, personalization=personalization, about=about
        )

    def render(self, context: MessageContext) -> Body:
        """See `Notifier.render`."""
        return self._templates.mail(context, self._sender, self._reply_to).body()

    async def aclose(self) -> None:
        """Nothing is held open between two mails."""
