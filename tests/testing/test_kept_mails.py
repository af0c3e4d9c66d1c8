"""Mails of loops in a world: kept as the app's own notifier rendered them."""

import pytest

from skene.adapters.memory_notifier import MemoryNotifier
from skene.testing.mails import KeepingNotifier, Postbox, read
from skene.testing.notifier_conformance import message

LINK = "https://app.acme.test/skene/unsubscribe?token=a"


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
