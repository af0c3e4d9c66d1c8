"""The test kit: an app's own loops in a world without networks, with a clock that obeys.

`world` puts it in place; the pytest fixture of the same name does so for a test. The conformance suites for
adapters are in `skene.testing.conformance`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skene.testing.answers import expect_answer
    from skene.testing.clock import ManualClock
    from skene.testing.entering import world
    from skene.testing.mails import Mail
    from skene.testing.network import NetworkRefused
    from skene.testing.paying import Checkout, Conversion
    from skene.testing.serve import serving
    from skene.testing.stripe_server import FakeStripe
    from skene.testing.worlds import World

__all__ = [
    "Checkout",
    "Conversion",
    "FakeStripe",
    "Mail",
    "ManualClock",
    "NetworkRefused",
    "World",
    "expect_answer",
    "serving",
    "world",
]

# Each is imported when it is first asked for: the pytest plugin is loaded from here in every pytest run.
_HOMES = {
    "Checkout": "paying",
    "Conversion": "paying",
    "FakeStripe": "stripe_server",
    "Mail": "mails",
    "ManualClock": "clock",
    "NetworkRefused": "network",
    "World": "worlds",
    "expect_answer": "answers",
    "serving": "serve",
    "world": "entering",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
