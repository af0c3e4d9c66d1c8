"""Mails of loops in a world: kept as the app's own notifier rendered them."""

import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from skene.adapters.memory_notifier import MemoryNotifier
from skene.adapters.resend import ResendNotifier
from skene.errors import WebhookRejected
from skene.ports.notifier import Reporting
from skene.testing.mails import KeepingNotifier, Postbox, keeping, read
from skene.testing.notifier_conformance import message

LINK = "https://app.acme.test/skene/unsubscribe?token=a"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_what_a_mail_is_about_is_passed_on() -> None:
    notifier = KeepingNotifier(MemoryNotifier(), Postbox())
    words = {"name": "{{ event.name }}"}
    notifier.check("activation_welcome", personalization=words, about="loop")
    with pytest.raises(ValueError, match="unknown variable 'event'"):
        notifier.check("activation_welcome", personalization=words)


def test_the_unsubscribe_link_of_a_mail() -> None:
    notifier = KeepingNotifier(MemoryNotifier(), Postbox())
    declined = notifier.render(message(template="re_engagement", unsubscribe_url=LINK))
    assert read("re_engagement", declined).unsubscribe_link == LINK
    assert read("upgrade_prompt", notifier.render(message())).unsubscribe_link is None


def test_reports_are_verified_by_the_apps_own_notifier() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    ours = ResendNotifier("re_c1tpEyD8", "Acme <team@acme.test>", webhook_secret=SECRET)
    kept = keeping(ours, Postbox())
    assert isinstance(kept, Reporting)
    body = json.dumps({"type": "email.complained", "data": {"email_id": "e1", "to": ["ada@acme.test"]}})
    headers = {
        "svix-id": "msg_1",
        "svix-timestamp": str(int(now.timestamp())),
        "svix-signature": Webhook(SECRET).sign("msg_1", now, body),
    }
    report = kept.parse_report(body.encode(), headers, now)
    assert report is not None
    assert (report.kind, report.address) == ("complained", "ada@acme.test")
    with pytest.raises(WebhookRejected):
        kept.parse_report(body.encode() + b" ", headers, now)
    assert not isinstance(keeping(MemoryNotifier(), Postbox()), Reporting)
