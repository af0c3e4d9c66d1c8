"""Secrets that are found nowhere else, an app that has them all, and all that is told."""

import base64
from datetime import timedelta

from skene import (
    UNLIMITED,
    Profile,
    Skene,
    action,
    condition,
    define_loop,
    step,
    trigger,
)
from skene.adapters.http_hook import HttpHook
from skene.adapters.postgres import PostgresStorage
from skene.adapters.resend import ResendNotifier
from skene.adapters.stripe import StripeBilling
from skene.adapters.webhook import StandardWebhookSource, WebhookNotifier
from tests.support.markers import hits, said_by, told


def signing(words):
    return "whsec_" + base64.b64encode(words.encode()).decode()


SECRETS = {
    "stripe key": "sk_test_51Vj8stripekeystripekey",
    "stripe signing": "whsec_Vj8stripesigningsecret",
    "resend key": "re_Vj8resend_keyresendkey",
    "resend signing": signing("Vj8 resend signs with these"),
    "source signing": signing("Vj8 partner signs with these"),
    "hook signing": signing("Vj8 our hook signs with this"),
    "hook token": "Vj8-token-in-a-header",
    "database password": "Vj8databasepassword",
    "valkey password": "Vj8valkeypassword",
    "mail password": "Vj8mailpassword",
    "paddle key": "pdl_sdbx_apikey_01gtgztp8f4kek3yd4g1wrksa3_q6TGTJyvoIz7LDtXT65bX7_AQO",
    "paddle signing": "pdl_ntfset_01h8b3cxd5vj8signing_secretofnotices",
    "link secret": "Vj8 links are signed with this secret",
    "user password": "Vj8hashofauserspassword",
}
BARE = {name: secret.removeprefix("whsec_").removeprefix("sk_test_") for name, secret in SECRETS.items()}
"""Without what is the same in all of their kind."""


class Told:
    """What has been told so far, by where."""

    def __init__(self, log):
        self.log = log
        self.said = {}

    def add(self, where, text):
        self.said[where] = f"{self.said.get(where, '')}\n{text}"

    def error(self, error):
        self.add("errors", told(error))

    def objects(self, *roots):
        for name, text in said_by(*roots).items():
            self.add(f"the repr of {name}", text)

    def found(self):
        return hits(BARE, {**self.said, "the log": self.log.text})


async def load_profile(subject):
    if subject == "nobody":
        raise RuntimeError("the table of users is away")
    return Profile(email=f"{subject}@app.test", name=subject)


LOOPS = [
    define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/api/features/*", method="POST"),
                condition=condition.usage(limit={"free": 2, "pro": UNLIMITED}, period="30d"),
                action=action.block(
                    "Limit.", upgrade_prompt=action.email("upgrade_prompt", provider="resend")
                ),
            )
        ],
    ),
    define_loop(
        type="activation",
        steps=[
            step(
                trigger=trigger.database("users", event="insert", subject="id"),
                condition=condition.query("SELECT * FROM users WHERE id = $1"),
                action=action.email(
                    "activation_welcome", provider="resend", personalization={"name": "{{event.name}}"}
                ),
            ),
        ],
    ),
    define_loop(
        type="retention",
        steps=[step(trigger=trigger.event("paid"), action=action.webhook("crm", "customer.paid"))],
    ),
]
USERS = """
CREATE TABLE users (id text PRIMARY KEY, email text, name text, password_hash text, session_token text);
"""


def make(database, stripe, resend, hook):
    """An app with all of them."""
    crm = WebhookNotifier(hook, SECRETS["hook signing"], headers={"x-key": SECRETS["hook token"]})
    return Skene(
        *LOOPS,
        storage=PostgresStorage(database, migrate=True),
        billing=StripeBilling(
            SECRETS["stripe key"],
            SECRETS["stripe signing"],
            {"price_pro": "pro"},
            base_url=stripe,
            timeout=timedelta(seconds=2),
        ),
        notifiers={
            "resend": ResendNotifier(
                SECRETS["resend key"],
                "App <team@app.test>",
                base_url=resend,
                webhook_secret=SECRETS["resend signing"],
                per_second=1000,
            ),
            "crm": crm,
        },
        sources={"partner": StandardWebhookSource(SECRETS["source signing"])},
        hooks={"warehouse": HttpHook(hook, SECRETS["hook signing"])},
        secret=SECRETS["link secret"],
        profile=load_profile,
        worker=False,
    )


async def try_all(said, *works):
    """Do what goes wrong, and keep what is told of it; returns how much went wrong."""
    faults = 0
    for work in works:
        try:
            answer = work()
            answer = await answer if hasattr(answer, "__await__") else answer
            said.add("answers", repr(answer))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
            faults += 1
            said.error(error)
    return faults
