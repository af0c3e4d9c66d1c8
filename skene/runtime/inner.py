"""What the channels have in common that send no messages."""

from datetime import timedelta
from typing import cast

from skene.ports.counters import Draft
from skene.ports.notifier import Body, MessageContext

__all__ = ["Inner"]


class Inner:
    """Everything of a notifier but the sending."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    @property
    def pace(self) -> timedelta | None:
        """As fast as they come."""
        return None

    def check(self, template: str, **_: object) -> None:
        """There is no template."""

    def render(self, context: MessageContext) -> Body:
        """All that it takes, as it is known now."""
        return cast(Body, dict(self._draft.data))

    async def aclose(self) -> None:
        """Nothing is held."""
