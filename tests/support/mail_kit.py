"""Reading mail as its recipient does."""

import email
from email import policy

from skene.testing.notifier_conformance import Delivered


def delivered(raw: bytes) -> Delivered:
    """A mail as bytes, read as a mail program does."""
    parsed = email.message_from_bytes(raw, policy=policy.default)
    text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    assert text is not None
    content = None if html is None else html.get_content()
    headers = {name: str(value) for name, value in parsed.items() if name.startswith("List-")}
    return Delivered(str(parsed["To"]), str(parsed["Subject"]), text.get_content(), content, headers)
