"""The customer's browser: follows links one redirect at a time, and sends forms as they stand on the page."""

from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx

__all__ = ["Form", "read_form"]


class Form:
    """The form of a page.

    Attributes:
        method: `GET` or `POST`.
        url: where it is sent.
        fields: what its inputs and its button send.
    """

    def __init__(self, method: str, url: str, fields: Mapping[str, str]) -> None:
        self.method = method
        self.url = url
        self.fields = dict(fields)

    async def send(self, client: httpx.AsyncClient) -> httpx.Response:
        """Press the button."""
        return await client.request(self.method, self.url, data=self.fields)


def read_form(page: httpx.Response) -> Form:
    """The first form of a page.

    Raises:
        LookupError: there is none.
    """
    reader = _Reader()
    reader.feed(page.text)
    if reader.form is None:
        raise LookupError(f"the page at {page.url} has no form")
    method, action = (reader.form.get("method") or "get").upper(), reader.form.get("action") or ""
    return Form(method, urljoin(str(page.url), action), reader.fields)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.form: dict[str, str | None] | None = None
        self.fields: dict[str, str] = {}
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form" and self.form is None:
            self.form, self._open = given, True
        name = given.get("name")
        if self._open and tag in ("input", "button") and name:
            self.fields[name] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False
