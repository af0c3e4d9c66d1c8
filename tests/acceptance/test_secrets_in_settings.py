"""Decision 31: settings that are wrong, servers that are away: what is said of them has no secret in it."""

from skene import (
    Skene,
    load_loop,
)
from skene.adapters.http_hook import HttpHook
from skene.adapters.memory import MemoryStorage
from skene.adapters.paddle import PaddleBilling
from skene.adapters.postgres import PostgresStorage
from skene.adapters.resend import ResendNotifier
from skene.adapters.smtp import SmtpNotifier
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.stripe import StripeBilling
from skene.adapters.valkey import ValkeyStorage
from skene.adapters.webhook import StandardWebhookSource, WebhookNotifier
from skene.testing import world
from skene.testing.notifier_conformance import message
from tests.acceptance.secret_things import BARE, LOOPS, SECRETS, make, try_all
from tests.cli.project import Project
from tests.support.markers import hits
from tests.support.postgres import free_port


def wrong_settings():
    """Every secret where another belongs, or not in the form that it has: mistakes that people make."""
    stripe, signs = SECRETS["stripe key"], SECRETS["stripe signing"]
    for key, secret in [
        (signs, stripe),
        (stripe + " ", signs),
        (f"Bearer {stripe}", signs),
        (stripe, stripe),
    ]:
        yield lambda key=key, secret=secret: StripeBilling(key, secret, {"*": "paid"})
    yield lambda: StripeBilling(stripe.encode(), [signs], {"*": "paid"})
    yield lambda: PaddleBilling(SECRETS["paddle signing"], SECRETS["paddle key"], {"pri_1": "paid"})
    yield lambda: PaddleBilling(SECRETS["paddle key"] + "\n", SECRETS["paddle signing"], {"pri_1": "paid"})
    yield lambda: ResendNotifier("App <team@app.test>", SECRETS["resend key"])
    yield lambda: ResendNotifier(f"{SECRETS['resend key']} ", "App <team@app.test>")
    yield lambda: ResendNotifier(SECRETS["resend key"], "App <team@app.test>", webhook_secret=stripe)
    yield lambda: SmtpNotifier("smtp.app.test", 587, "team", username=None, password=SECRETS["mail password"])
    yield lambda: SmtpNotifier(
        "smtp.app.test", 25, "team@app.test", username="app", password=SECRETS["mail password"], tls="none"
    )
    yield lambda: WebhookNotifier(f"https://app:{SECRETS['hook token']}@app.test", SECRETS["hook signing"])
    yield lambda: WebhookNotifier("https://app.test", SECRETS["hook token"])
    yield lambda: HttpHook(f"ftp://app.test/{SECRETS['hook token']}", SECRETS["hook signing"])
    yield lambda: StandardWebhookSource(SECRETS["hook token"])
    for address in ("postgresql://app:{}@db:port/app", "mysql://app:{}@db/app", "app:{}@db", "{}"):
        yield lambda address=address: PostgresStorage(address.format(SECRETS["database password"]))
    yield lambda: ValkeyStorage(f"http://:{SECRETS['valkey password']}@db", storage=MemoryStorage())
    for address in ("postgresql://app:{}@db/app", "host=db user=app password={}"):
        yield lambda address=address: Skene(LOOPS[0], storage=address.format(SECRETS["database password"]))
    yield lambda: Skene(LOOPS[0], storage=MemoryStorage(), secret={"key": SECRETS["link secret"]})
    yield lambda: load_loop({"type": "freemium", "steps": [], "apiKey": stripe})
    for given in (
        {"STRIPE_API_KEY": stripe},
        {"STRIPE_API_KEY": signs, "STRIPE_WEBHOOK_SECRET": stripe},
        {"DATABASE_URL": f"mysql://app:{SECRETS['database password']}@db/app"},
        {"DATABASE_URL": SECRETS["database password"]},
        {"VALKEY_URL": f"http://:{SECRETS['valkey password']}@db"},
        {"RESEND_API_KEY": SECRETS["resend key"], "SKENE_SENDER": SECRETS["resend signing"]},
        {"RESEND_API_KEY": SECRETS["resend signing"], "SKENE_SENDER": "team@app.test"},
    ):
        yield lambda given=given: Skene.from_env(LOOPS[0], env=given)
    # What is only seen when all is there.
    valkey = f"valkey://:{SECRETS['valkey password']}@db:port"
    yield lambda: Skene(LOOPS[-1], storage=ValkeyStorage(valkey, storage=MemoryStorage())).start()
    public = f"https://app:{SECRETS['hook token']}@app.test"
    yield lambda: Skene(LOOPS[0], storage=MemoryStorage(), public_url=public).start()


async def test_settings_that_are_wrong(said):
    works = list(wrong_settings())
    assert await try_all(said, *works) == len(works), said.said["answers"]
    assert said.found() == []


async def test_servers_that_are_away(said, tmp_path):
    """Connections that are refused, with the password in the address."""
    password = SECRETS["database password"]
    here = PostgresStorage(f"postgresql://app:{password}@127.0.0.1:{free_port()}/app?sslmode=disable")
    engine = ValkeyStorage(
        f"valkey://:{SECRETS['valkey password']}@127.0.0.1:{free_port()}",
        storage=SqliteStorage(tmp_path / "db"),
    )
    paddle = PaddleBilling(
        SECRETS["paddle key"],
        SECRETS["paddle signing"],
        {"pri_01gsz8x8sawmvhz1pv30nge1ke": "pro"},
        base_url=f"http://127.0.0.1:{free_port()}",
    )
    smtp = SmtpNotifier(
        "127.0.0.1", free_port(), "team@app.test", username="app", password=SECRETS["mail password"]
    )
    loops = [LOOPS[0]]
    for storage in (here, engine):
        skene = Skene(*loops, storage=storage, billing=paddle, notifiers={"resend": smtp})
        said.objects(skene)
        faults = await try_all(
            said,
            skene.start,
            lambda skene=skene: skene.consume("ada", "/api/features/*"),
            lambda skene=skene: skene.forget("ada"),
            lambda skene=skene: skene.link("ada", "ctm_1"),
            lambda skene=skene: skene.billing.fetch("ctm_1"),
            lambda: smtp.send(smtp.render(message()), idempotency_key="k"),
        )
        assert faults >= 4
        await skene.aclose()
        said.objects(skene)
    assert said.found() == []


CONFIG = """
import os
from skene import Skene, load_loop
from skene.adapters.file import FileNotifier
from skene.adapters.postgres import PostgresStorage
from skene.adapters.stripe import StripeBilling
from skene.adapters.resend import ResendNotifier

loop = load_loop({"type": "retention", "steps": [{
    "trigger": {"type": "schedule", "cron": "* * * * *"},
    "condition": {"type": "query", "query": "SELECT id FROM users"},
    "action": {"type": "email", "template": "re_engagement", "provider": "resend"},
}]})
skene = Skene(
    loop,
    storage=PostgresStorage(os.environ["THE_DATABASE"]),
    billing=StripeBilling(os.environ["KEY"], os.environ["SIGNS"], {"*": "paid"}, base_url="http://127.0.0.1:1"),
    notifiers={"resend": ResendNotifier(os.environ["RESEND"], "a@app.test", base_url="http://127.0.0.1:1")},
    secret=os.environ["LINKS"],
)
"""
AWAY = [
    ["check"],
    ["db", "upgrade"],
    ["funnel"],
    ["forget", "ada", "--yes"],
    ["link", "ada", "cus_1"],
    ["sync"],
    ["worker", "--once"],
]


def test_commands_that_fail(tmp_path):
    """With everything away; `--debug` says what a command says without it, and the traceback."""
    (tmp_path / "skene_config.py").write_text(CONFIG)
    password = SECRETS["database password"]
    away = f"postgresql://app:{password}@127.0.0.1:{free_port()}/app"
    wrong = f"postgresql://app:{password}@db:port/app"
    env = {
        "THE_DATABASE": away,
        "KEY": SECRETS["stripe key"],
        "SIGNS": SECRETS["stripe signing"],
        "RESEND": SECRETS["resend key"],
        "LINKS": SECRETS["link secret"],
    }
    project, said, failed = Project(tmp_path), {}, 0
    others = [["db", "upgrade", "--database", address] for address in (away, wrong, f"app:{password}@db")]
    for words in [*AWAY, *others]:
        ended = project.program(*words, "--debug", env=env)
        failed += ended.code != 0
        said[" ".join(words[:2])] = f"{ended.out}{ended.err}"
    assert failed >= len(AWAY), said
    assert sum("Traceback" in text for text in said.values()) >= len(AWAY) - 1
    assert hits(BARE, said) == []


def test_settings_in_each_others_places_are_not_told_by_commands(tmp_path):
    (tmp_path / "skene_config.py").write_text(CONFIG)
    names = ["THE_DATABASE", "KEY", "SIGNS", "RESEND", "LINKS"]
    right = [
        f"postgresql://app:{SECRETS['database password']}@db/app",
        *(SECRETS[name] for name in ("stripe key", "stripe signing", "resend key", "link secret")),
    ]
    for shift in (1, 3):
        env = dict(zip(names, right[shift:] + right[:shift], strict=True))
        ended = Project(tmp_path).program("check", "--debug", env=env)
        assert ended.code == 1
        assert hits(BARE, {"check": ended.out + ended.err}) == [], ended


async def test_a_world(said, tmp_path):
    skene = make(
        "postgresql://app:nothing@db/app", "http://stripe.test", "http://resend.test", "https://hook.test"
    )
    with world(skene) as entered:
        entered.used("ada", 2)
        assert not (await skene.check("ada", "freemium")).allowed
        await entered.stripe.subscribe("ada", "price_pro")
        said.add("the world", entered.describe())
        said.objects(entered, skene)
    said.objects(skene)
    assert said.found() == []
