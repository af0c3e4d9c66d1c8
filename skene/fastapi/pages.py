"""The few pages that people see: on their way to and from payment, and when they have had enough mail."""

from dataclasses import dataclass
from html import escape

from starlette.responses import HTMLResponse

__all__ = ["Form", "Link", "Refresh", "page", "resubscribed_page", "unsubscribe_page", "unsubscribed_page"]

LAYOUT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">{refresh}
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 1.05rem/1.6 system-ui, sans-serif; max-width: 32rem; margin: 18vh auto 0; padding: 0 1.25rem;
  }} h1 {{ font-size: 1.5rem; line-height: 1.25; }}
  a {{ color: inherit; }}
  button {{ font: inherit; font-weight: 600; padding: .7rem 1.2rem; border: 0; border-radius: .5rem;
    color: #fff; background: #1d4ed8; cursor: pointer; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{text}</p>{form}{link}
<p><a href="{back}">Continue</a></p>
</body>
</html>
"""


_FORM = """
<form method="post" action="{action}"><p><button type="submit">{label}</button></p></form>"""


_LINK = """
<p><a href="{url}">{label}</a></p>"""


@dataclass(frozen=True, slots=True)
class Link:
    """Where else the person can go.

    Attributes:
        url: the address.
        label: what the link says.
    """

    url: str
    label: str


@dataclass(frozen=True, slots=True)
class Refresh:
    """Load another page in this one's place, by itself.

    Attributes:
        after: seconds.
        url: the other page; empty: the same again.
    """

    after: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A button that posts to an address, as only a person does: what opens links to look at them does not.

    Attributes:
        action: the address, with its query.
        label: what the button says.
    """

    action: str
    label: str


def page(
    title: str,
    text: str,
    *,
    back: str,
    status: int = 200,
    refresh: Refresh | None = None,
    form: Form | None = None,
    link: Link | None = None,
) -> HTMLResponse:
    """A plain page.

    Args:
        title: its heading.
        text: one paragraph.
        back: where "Continue" leads.
        status: of the answer.
        refresh: what happens by itself.
        form: a button below the text.
        link: another way to go on, below the text.
    """
    again = f'\n<meta http-equiv="refresh" content="{escape(_content(refresh))}">' if refresh else ""
    other = _LINK.format(url=escape(link.url), label=escape(link.label)) if link is not None else ""
    button = _FORM.format(action=escape(form.action), label=escape(form.label)) if form is not None else ""
    body = LAYOUT.format(
        title=escape(title), text=escape(text), back=escape(back), refresh=again, form=button, link=other
    )
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    if refresh:
        headers["Retry-After"] = str(refresh.after)
    return HTMLResponse(body, status, headers)


def _content(refresh: Refresh) -> str:
    return f"{refresh.after};url={refresh.url}" if refresh.url else str(refresh.after)


def unsubscribe_page(action: str, *, back: str) -> HTMLResponse:
    """Asks for confirmation; nothing has changed yet.

    Args:
        action: where a POST unsubscribes: the address of this page, token included.
        back: where "Continue" leads.
    """
    text = "You get no more mails of this kind. Messages about your account itself still reach you."
    return page("Unsubscribe?", text, back=back, form=Form(action, "Unsubscribe"))


def unsubscribed_page(undo: str, *, back: str) -> HTMLResponse:
    """Says that it is done, and how to undo it.

    Args:
        undo: where a POST subscribes again.
        back: where "Continue" leads.
    """
    text = "You get no more mails of this kind. That was a mistake? One click undoes it."
    return page("You are unsubscribed", text, back=back, form=Form(undo, "Subscribe again"))


def resubscribed_page(*, back: str) -> HTMLResponse:
    """Says that the mails come again.

    Args:
        back: where "Continue" leads.
    """
    return page("You are subscribed again", "The mails will reach you as before.", back=back)
