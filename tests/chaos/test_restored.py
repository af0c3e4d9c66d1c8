"""The database is set back to a backup from before some mails were sent."""

import shutil

from skene import UNLIMITED, Skene, action, condition, define_loop, step, trigger
from skene.adapters.resend import ResendNotifier
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.system import SystemClock
from skene.ports.notifier import Profile
from skene.ports.outbox import MessageState
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving

PEOPLE = [f"person-{number}" for number in range(5)]


def freemium():
    return define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/api/features/*"),
                condition=condition.usage(
                    limit={"free": 1, "paid": UNLIMITED}, period="30d", meter="features"
                ),
                action=action.block("Limit.", upgrade_prompt=action.email("upgrade_prompt")),
            )
        ],
    )


async def profile(subject):
    return Profile(email=f"{subject}@app.test")


def opened(path, mail):
    """The app as it is started again."""
    return Skene(
        freemium(),
        storage=SqliteStorage(path),
        notifiers={"resend": ResendNotifier("re_local0resend", "App <team@app.test>", base_url=mail)},
        profile=profile,
        worker=False,
    )


async def test_what_was_sent_after_the_backup_is_not_sent_again(tmp_path):
    kept, backup = tmp_path / "skene.db", tmp_path / "backup.db"
    resend = FakeResend(now=SystemClock().now)
    with serving(resend.app) as mail:
        async with opened(kept, mail) as skene:
            for person in PEOPLE:
                assert (await skene.consume(person, "features")).allowed
                assert not (await skene.consume(person, "features")).allowed
        shutil.copy(kept, backup)
        async with opened(kept, mail) as skene:
            await skene.worker.drain()
        assert len(resend.emails) == len(PEOPLE)
        shutil.copy(backup, kept)
        async with opened(kept, mail) as skene:
            await skene.worker.drain()
            states = [state for _, state, _ in await skene.storage.messages()]
    asked = sum(call.path == "/emails" for call in resend.calls)
    assert asked > len(PEOPLE), "nothing was tried again, and so nothing is shown"
    assert len(resend.emails) == len(PEOPLE)
    assert states == [MessageState.SENT] * len(PEOPLE)
