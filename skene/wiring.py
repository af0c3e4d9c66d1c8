"""`Skene`: the runtime with its usual parts filled in. The one place where runtime and adapters meet."""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from skene.adapters.manual import ManualBilling
from skene.adapters.system import SystemClock
from skene.definitions import Fault, Loop, UsageCondition, parse_duration
from skene.engine.program import compile_loops
from skene.errors import ConfigurationError
from skene.ports.accounts import Credit
from skene.ports.billing import Billing
from skene.ports.clock import Clock
from skene.ports.hooks import Hook
from skene.ports.notifier import Notifier, ProfileResolver
from skene.ports.observers import Observer
from skene.ports.queries import Queries
from skene.ports.sources import EventSource
from skene.ports.storage import Storage
from skene.runtime.kinds import check_kinds, check_loops
from skene.runtime.offering import Offer
from skene.runtime.parts import OnStorageError
from skene.runtime.policy import MailPolicy
from skene.runtime.skene import Runtime
from skene.runtime.startup import mail_providers

if TYPE_CHECKING:
    from skene.adapters.stripe import StripeBilling

__all__ = ["Skene"]

DEFAULT_DATABASE = "skene.db"
DEFAULT_OUTBOX = "outbox"


class Skene(Runtime):
    """Your loops on your back-ends.

    Args:
        loops: what `define_loop` or `load_loop` made.
        storage: your database.
        billing: who pays for what; None: plans are set by hand.
        notifiers: who sends messages, by the name that loops call them (`provider=`).
        profile: a subject's id to its `Profile`; None: the customer's address.
        clock: another one than the database's, for tests.
        public_url: where people reach your app; None: `http://localhost:8000`.
        secret: signs links in messages; None: derived from billing's own.
        prefix: where skene's routes are in your app.
        on_storage_error: `deny` answers 503 while nothing can be counted, `allow` lets calls through.
        enforce: False only watches: everything is counted and recorded, nobody is refused or written to.
        worker: run the recovery worker in this process; False when `skene worker` does it elsewhere.
        link_lifetime: how long links in messages work.
        queries: runs the queries of conditions, if your tables are in another database than `storage`.
        sources: who sends signed webhooks, by name.
        mail: how much marketing mail people get, and when.
        offer: says which plan to sell, from subject, plan held and refusing step; None: the next better.
        sync_every: how often a worker puts right plans that are not what billing says; None: never.
        hooks: your other systems that hear of what happens, by name.
        credit: which wall before a payment has brought it about: the `last`, or the `first`.
        observers: who is told of decisions and deliveries as they happen: traces, metrics, logs.

    Raises:
        ConfigurationError: a part is of the wrong kind. What does not fit together shows at start-up.

    Example:
        `skene = Skene(freemium, storage=PostgresStorage("postgresql://localhost/app"), notifiers={…})`
    """

    def __init__(
        self,
        *loops: Loop,
        storage: Storage,
        billing: Billing | None = None,
        notifiers: Mapping[str, Notifier] | None = None,
        profile: ProfileResolver | None = None,
        clock: Clock | None = None,
        public_url: str | None = None,
        secret: str | bytes | None = None,
        prefix: str = "/skene",
        on_storage_error: OnStorageError = "deny",
        enforce: bool = True,
        worker: bool = True,
        link_lifetime: timedelta = timedelta(days=30),
        queries: Queries | None = None,
        sources: Mapping[str, EventSource] | None = None,
        mail: MailPolicy | None = None,
        offer: Offer | None = None,
        sync_every: str | timedelta | None = "24h",
        hooks: Mapping[str, Hook] | None = None,
        credit: Credit = "last",
        observers: Sequence[Observer] = (),
    ) -> None:
        parts = (loops, storage, billing, notifiers, profile, link_lifetime)
        check_kinds(*parts, sources, mail, offer, sync_every, hooks, credit, observers)
        super().__init__(
            *loops,
            storage=storage,
            billing=billing or _by_hand(loops),
            notifiers=notifiers or {},
            clock=clock or SystemClock(),
            profile=profile,
            public_url=public_url,
            secret=secret,
            prefix=prefix,
            on_storage_error=on_storage_error,
            enforce=enforce,
            worker=worker,
            link_lifetime=link_lifetime,
            queries=queries,
            sources=sources,
            mail=mail,
            offer=offer,
            sync_every=None if sync_every is None else parse_duration(sync_every),
            hooks=hooks,
            credit=credit,
            observers=observers,
        )
        self._prices: Mapping[str, str] = {}

    @classmethod
    def from_env(
        cls,
        *loops: Loop,
        plans: Mapping[str, str] | None = None,
        profile: ProfileResolver | None = None,
        sources: Mapping[str, EventSource] | None = None,
        notifiers: Mapping[str, Notifier] | None = None,
        mail: MailPolicy | None = None,
        hooks: Mapping[str, Hook] | None = None,
        credit: Credit = "last",
        observers: Sequence[Observer] = (),
        env: Mapping[str, str] | None = None,
    ) -> Self:
        """Take everything from the environment and `.env`, with embedded defaults for what is not set.

        `DATABASE_URL` (else the SQLite file `skene.db`), `VALKEY_URL` (else the database counts, too),
        `STRIPE_API_KEY` and `STRIPE_WEBHOOK_SECRET` (else plans set by hand), `RESEND_API_KEY` and
        `SKENE_SENDER` (else e-mails are written to `./outbox`),
        `RESEND_WEBHOOK_SECRET` (else Resend's reports of bounces and complaints are refused),
        `SKENE_PUBLIC_URL`, `SKENE_SECRET`, `SKENE_KEYRING` (secrets from the system's keyring, under that
        name), `STRIPE_API_BASE` (another address than Stripe's, for tests). A variable that is set wins over
        the same one in `.env`.

        Args:
            plans: price id, product id, lookup key or `"*"` → plan, for Stripe. Without it any price means
                the plan listed last in the loops' limits.
            profile, sources, mail, hooks, credit, observers: as in `Skene(…)`.
            notifiers: further ones by name, such as a `WebhookNotifier`; they win over those of the
                environment.
            env: use this instead of the process's environment and `.env`.

        Raises:
            ConfigurationError: settings that are there but cannot work, or only one of two that belong
                together.
        """
        check_loops(loops)
        settings = env if env is not None else environment()
        given = {name: settings.get(name, "").strip() for name in _VARIABLES}
        faults = _half_set(given)
        if faults:
            raise ConfigurationError(faults)
        made = cls(
            *loops,
            storage=_counting_in(given["VALKEY_URL"], storage_from(given["DATABASE_URL"])),
            billing=_stripe(given, loops, plans) or _by_hand(loops, plans),
            notifiers={**_notifiers(given, loops, frozenset(notifiers or ())), **(notifiers or {})},
            profile=profile,
            sources=sources,
            mail=mail,
            hooks=hooks,
            credit=credit,
            observers=observers,
            public_url=given["SKENE_PUBLIC_URL"] or None,
            secret=given["SKENE_SECRET"] or None,
        )
        made._prices = _prices(loops, plans)
        return made

    @property
    def prices(self) -> Mapping[str, str]:
        """What each price at Stripe means, as `StripeBilling` or `from_env` was told; empty without Stripe.

        Known without keys too, so that an app's tests run alike with and without them.
        """
        named: Mapping[str, str] | None = getattr(self.billing, "prices", None)
        return self._prices if named is None else named


_VARIABLES = (
    "DATABASE_URL",
    "VALKEY_URL",
    "STRIPE_API_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "RESEND_API_KEY",
    "SKENE_SENDER",
    "RESEND_WEBHOOK_SECRET",
    "SKENE_PUBLIC_URL",
    "SKENE_SECRET",
    "SKENE_KEYRING",
    "STRIPE_API_BASE",
)
SECRETS = (
    "STRIPE_API_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "RESEND_API_KEY",
    "RESEND_WEBHOOK_SECRET",
    "SKENE_SECRET",
)
"""Those that may be kept in the system's keyring."""
PAIRS = (("STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET"), ("RESEND_API_KEY", "SKENE_SENDER"))


def storage_from(url: str) -> Storage:
    """The storage that an address stands for: PostgreSQL, an SQLite file, or `skene.db` when it is empty.

    Raises:
        ConfigurationError: another kind of address.
    """
    scheme, colon, rest = url.partition("://")
    kind = scheme.split("+")[0]
    if colon and kind in ("postgres", "postgresql"):
        from skene.adapters.postgres import PostgresStorage

        return PostgresStorage(url)
    path = rest.removeprefix("/")
    if not url or (kind == "sqlite" and path):
        from skene.adapters.sqlite import SqliteStorage

        return SqliteStorage(Path(path or DEFAULT_DATABASE))
    if kind == "sqlite":
        given = "an address without a file"
    else:  # without a scheme it may begin with a password
        given = f"an address that begins with {scheme!r}" if colon else "an address without a scheme"
    raise ConfigurationError([Fault("DATABASE_URL", given, "postgresql://… or sqlite:///file.db", None)])


def _counting_in(url: str, storage: Storage) -> Storage:
    if not url:
        return storage
    try:
        from skene.adapters.valkey import ValkeyStorage
    except ModuleNotFoundError as error:
        told = Fault("VALKEY_URL", "an address", 'the extra: pip install "skene-sdk[valkey]"', None)
        raise ConfigurationError([told]) from error
    return ValkeyStorage(url, storage=storage)


def written_environment() -> dict[str, str]:
    """The variables of the process, and of the `.env` in this folder or above where they are not set."""
    from dotenv import dotenv_values, find_dotenv

    written = dotenv_values(find_dotenv(usecwd=True))
    return {**{k: v for k, v in written.items() if v is not None}, **os.environ}


def environment() -> dict[str, str]:
    """The same with the secrets of the keyring that they name.

    Raises:
        ConfigurationError: there is no keyring, or it is locked.
    """
    settings = written_environment()
    if service := settings.get("SKENE_KEYRING", "").strip():
        from skene.adapters.keyring import read_secrets

        settings = {**read_secrets(service, SECRETS), **settings}
    return settings


def _half_set(given: Mapping[str, str]) -> list[Fault]:
    faults: list[Fault] = []
    for first, second in PAIRS:
        if bool(given[first]) != bool(given[second]):
            missing, there = (second, first) if given[first] else (first, second)
            faults.append(_missing(missing, there))
    if given["RESEND_WEBHOOK_SECRET"] and not given["RESEND_API_KEY"]:
        faults.append(_missing("RESEND_API_KEY", "RESEND_WEBHOOK_SECRET"))
    return faults


def _missing(name: str, there: str) -> Fault:
    return Fault(name, "nothing", f"a value, since {there} is set; or unset {there}", None)


def _plans(loops: tuple[Loop, ...]) -> tuple[str, ...]:
    limits = (step.limit for loop in loops for step in loop.steps)
    usages = (limit[0] for limit in limits if limit is not None)
    return tuple(
        dict.fromkeys(plan for one in usages if isinstance(one, UsageCondition) for plan in one.limit)
    )


def _prices(loops: tuple[Loop, ...], plans: Mapping[str, str] | None) -> Mapping[str, str]:
    """What each price means; unless somebody says so, any price means the plan listed last."""
    if plans:
        return dict(plans)
    known = _plans(loops)
    return {"*": known[-1]} if known else {}


def _default_plan(plans: tuple[str, ...]) -> str:
    return "free" if "free" in plans or not plans else plans[0]


def _by_hand(loops: tuple[Loop, ...], prices: Mapping[str, str] | None = None) -> ManualBilling:
    known = _plans(loops)
    default = _default_plan(known)
    # Plans that prices mean count here too: one without a limit is found before there are keys for Stripe.
    plans = dict.fromkeys([*known, *(prices or {}).values()])
    return ManualBilling([plan for plan in plans if plan != default] or ["paid"], default=default)


def _stripe(
    given: Mapping[str, str], loops: tuple[Loop, ...], plans: Mapping[str, str] | None
) -> "StripeBilling | None":
    if not given["STRIPE_API_KEY"]:
        return None
    from skene.adapters.stripe import StripeBilling

    known = _plans(loops)
    return StripeBilling(
        api_key=given["STRIPE_API_KEY"],
        webhook_secret=given["STRIPE_WEBHOOK_SECRET"],
        plans=_prices(loops, plans),
        default=_default_plan(known),
        base_url=given["STRIPE_API_BASE"] or None,
    )


def _notifiers(
    given: Mapping[str, str], loops: tuple[Loop, ...], others: frozenset[str]
) -> dict[str, Notifier]:
    if given["RESEND_API_KEY"]:
        from skene.adapters.resend import ResendNotifier

        resend = ResendNotifier(
            api_key=given["RESEND_API_KEY"],
            sender=given["SKENE_SENDER"],
            webhook_secret=given["RESEND_WEBHOOK_SECRET"] or None,
        )
        return {"resend": resend}
    from skene.adapters.file import FileNotifier

    files = FileNotifier(DEFAULT_OUTBOX)
    names = mail_providers(compile_loops(loops)[0]) - others
    return dict.fromkeys(sorted(names or {"file"}), files)
