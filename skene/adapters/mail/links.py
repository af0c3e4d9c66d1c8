"""Links in rendered mail: escaping keeps them inside their attribute, this keeps them harmless."""

import re
from html.parser import HTMLParser

__all__ = ["unsafe_link"]

_ADDRESSED = {"href", "src", "action", "formaction", "background", "poster", "xlink:href", "data"}
_WEB = re.compile(r"https?://[^/?#\s\\@]+([/?#].*)?", re.IGNORECASE)
_OTHER = re.compile(r"(mailto|tel|cid):.+", re.IGNORECASE)


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.problem: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in _ADDRESSED and self.problem is None and not _harmless(value or ""):
                place = f"the {name} of <{tag}> on line {self.getpos()[0]}"
                self.problem = f'{place} is not a full address that begins with "https://"'


def unsafe_link(html: str) -> str | None:
    """Says which address in a mail leads anywhere but to the web, a mailbox, a telephone or its own parts.

    Mail programs and browsers differ in what they run, so what is allowed is listed, not what is dangerous:
    `javascript:` and `data:` in any disguise, `//host` and relative addresses are all refused.
    """
    parser = _Addresses()
    parser.feed(html)
    parser.close()
    return parser.problem


def _harmless(value: str) -> bool:
    return bool(_WEB.fullmatch(value) or _OTHER.fullmatch(value) or re.fullmatch(r"#.+", value))
