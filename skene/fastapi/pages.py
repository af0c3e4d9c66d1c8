"""The few pages that people see on their way to and from payment."""

from html import escape

from starlette.responses import HTMLResponse

__all__ = ["page"]

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
</style>
</head>
<body>
<h1>{title}</h1>
<p>{text}</p>
<p><a href="{back}">Continue</a></p>
</body>
</html>
"""


def page(title: str, text: str, *, back: str, status: int = 200, refresh: int | None = None) -> HTMLResponse:
    """A plain page.

    Args:
        back: where "Continue" leads.
        refresh: load the page again after this many seconds.
    """
    again = f'\n<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    body = LAYOUT.format(title=escape(title), text=escape(text), back=escape(back), refresh=again)
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    if refresh:
        headers["Retry-After"] = str(refresh)
    return HTMLResponse(body, status, headers)
