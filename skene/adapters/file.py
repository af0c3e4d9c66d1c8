"""Mails written into a folder: for development, demonstrations and tests of a whole application."""

import os
import re
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

import anyio.to_thread

from skene.adapters.mail.local import LocalNotifier
from skene.adapters.mail.message import check_key, read_mail
from skene.adapters.mail.mime import mime
from skene.errors import DeliveryFailed
from skene.ports.notifier import FOREVER, Body

__all__ = ["FileNotifier"]


class FileNotifier(LocalNotifier):
    """Writes each mail as an `.eml`, which mail programs open, and an `.html`, which browsers open.

    Args:
        folder: where to, relative to the working directory; made when the first mail is written.
        sender: `Name <address>` or an address.
        templates: the folder of local templates.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    def __init__(
        self,
        folder: str | Path = "outbox",
        sender: str = "skene <skene@localhost>",
        *,
        templates: str | Path = "templates",
    ) -> None:
        super().__init__(sender, templates)
        self._folder = Path(folder).absolute()

    def __repr__(self) -> str:
        return f"FileNotifier({str(self._folder)!r})"

    @property
    def remembers_keys(self) -> timedelta:
        """For ever: a file that is there is not written again."""
        return FOREVER

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Write the files, whole or not at all; see `Notifier.send`.

        Returns:
            The name of the `.eml`: the template's name and a short hash of the key.

        Raises:
            DeliveryFailed: the folder cannot be written to.
            DeliveryRefused: the body is another notifier's.
        """
        key = check_key(idempotency_key)
        mail = read_mail(body)
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", mail.template) or "mail"
        stem = f"{name}-{sha256(key.encode()).hexdigest()[:12]}"
        content = mime(mail, key, readable=True).as_bytes()
        return await anyio.to_thread.run_sync(partial(self._write, stem, content, mail.html))

    def _write(self, stem: str, content: bytes, html: str | None) -> str:
        target = self._folder / f"{stem}.eml"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                # The .eml comes last: while it is missing, the mail counts as not written.
                if html is not None:
                    _put(target.with_suffix(".html"), html.encode())
                _put(target, content)
        except OSError as error:
            raise DeliveryFailed(f"the outbox folder cannot be written to: {error.strerror}") from error
        return target.name


def _put(target: Path, content: bytes) -> None:
    with NamedTemporaryFile(dir=target.parent, prefix=".", suffix=".part", delete=False) as draft:
        draft.write(content)
    try:
        os.chmod(draft.name, 0o644)  # a temporary file is for its owner only
        os.replace(draft.name, target)
    except OSError:
        os.unlink(draft.name)
        raise
