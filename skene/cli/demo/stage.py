"""Everything the demo runs: the app, a local Stripe, a local Resend, each on its own port."""

import socket
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skene import Skene
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.system import SystemClock
from skene.cli.database import storage_at
from skene.cli.demo.app import PRICES, Person, Services, freemium, make_app, make_skene
from skene.cli.failing import CommandError
from skene.ports.storage import Storage
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe

__all__ = ["Stage", "set_up"]

RESEND_KEY = "re_local0resend"


@dataclass(frozen=True, slots=True)
class Stage:
    """What is running.

    Attributes:
        url: of the app.
        stripe, resend: the stand-ins; their state is what they were sent.
        stripe_url, resend_url: where they listen.
        skene: on the same database as the app, but not the app's: it sees only what was stored.
        customer: who plays the customer; guest: somebody with an allowance still to use.
        folder: for files.
        migrations: the versions that were applied to the database now.
    """

    url: str
    stripe: FakeStripe
    resend: FakeResend
    stripe_url: str
    resend_url: str
    skene: Skene
    customer: Person
    guest: Person
    folder: Path
    migrations: tuple[str, ...]


@asynccontextmanager
async def set_up(database: str | None, port: int, folder: Path) -> AsyncGenerator[Stage]:
    """Start everything, and stop it afterwards.

    Args:
        database: its address; None makes an SQLite file in `folder`.
        port: of the app; 0 is a free one.
        folder: for the database and other files.

    Raises:
        CommandError: a port is taken, or the app does not start.
        StorageUnavailable: the database cannot be reached.
    """
    clock = SystemClock()
    people = _people(clock.new_id())
    stripe = FakeStripe(now=clock.now, prices=PRICES)
    resend = FakeResend(now=clock.now, api_keys=[RESEND_KEY])
    observer = Skene(freemium, storage=_storage(database, folder))
    migrate: Any = observer.storage  # both kinds have it; it is no part of the port
    try:
        migrations = tuple(await migrate.migrate())
        await observer.storage.start()
        with ExitStack() as servers:
            stripe.base_url = servers.enter_context(serving(stripe.app))
            resend_url = servers.enter_context(serving(resend.app))
            number = port or _free_port()
            services = Services(
                public_url=f"http://127.0.0.1:{number}",
                stripe_url=stripe.base_url,
                stripe_key=stripe.api_key,
                webhook_secret=stripe.webhook_secret,
                resend_url=resend_url,
                resend_key=RESEND_KEY,
                templates=folder / "templates",
            )
            skene = make_skene(_storage(database, folder), services, people)
            url = servers.enter_context(_serving_app(make_app(skene, people), number))
            stripe.connect(f"{url}/skene/webhooks/stripe")
            customer, guest = people.values()
            yield Stage(
                url,
                stripe,
                resend,
                stripe.base_url,
                resend_url,
                observer,
                customer,
                guest,
                folder,
                migrations,
            )
    finally:
        await observer.aclose()


def _storage(database: str | None, folder: Path) -> Storage:
    return SqliteStorage(folder / "demo.db") if database is None else storage_at(database)


def _people(run: str) -> Mapping[str, Person]:
    """New ones for every run, so that it can be repeated on one database."""
    made = [
        Person(
            f"{name.lower()}-{run[-10:]}",
            f"{name.lower()}-key-{run[-10:]}",
            name,
            f"{name.lower()}@example.test",
        )
        for name in ("Ada", "Grace")
    ]
    return {person.subject: person for person in made}


@contextmanager
def _serving_app(app: Any, port: int) -> Generator[str]:
    with ExitStack() as stack:
        try:
            url = stack.enter_context(serving(app, port=port))
        except OSError as error:
            raise CommandError(
                f"port {port} cannot be used: {error.strerror}; give another --port"
            ) from error
        except RuntimeError as error:
            raise CommandError(f"the app did not start: {error}") from error
        yield url


def _free_port() -> int:
    # The app must know its address before it is made.
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        number: int = one.getsockname()[1]
        return number
