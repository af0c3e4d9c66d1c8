"""The pages people see: nothing on them changes anything until a button is pressed."""

import re
from html.parser import HTMLParser

import pytest
from starlette.responses import HTMLResponse

from skene.fastapi.pages import Form, page, resubscribed_page, unsubscribe_page, unsubscribed_page

EVIL = '"><script>alert(1)</script>'
BACK = "https://app.acme.test"


def html(answer: HTMLResponse) -> str:
    return bytes(answer.body).decode()


def forms(answer: HTMLResponse) -> list[tuple[str | None, str | None, str]]:
    """Method, action and label of every form."""
    found: list[tuple[str | None, str | None, str]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "form":
                found.append((dict(attrs).get("method"), dict(attrs).get("action"), ""))

    text = html(answer)
    Parser().feed(text)
    labels = re.findall(r"<button type=\"submit\">(.*?)</button>", text)
    return [(method, action, label) for (method, action, _), label in zip(found, labels, strict=True)]


def test_unsubscribing_takes_a_button_that_posts() -> None:
    action = "unsubscribe?token=a.b-c_d"
    asked = unsubscribe_page(action, back=BACK)
    assert forms(asked) == [("post", action, "Unsubscribe")]
    assert "Messages about your account itself still reach you." in html(asked)


def test_it_can_be_undone() -> None:
    undo = "unsubscribe?token=a&undo=yes"
    assert forms(unsubscribed_page(undo, back=BACK)) == [("post", undo, "Subscribe again")]
    assert forms(resubscribed_page(back=BACK)) == []


@pytest.mark.parametrize("answer", [unsubscribe_page("u?a=1&b=2", back=BACK), page("T", "t", back=BACK)])
def test_no_page_runs_anything_loads_anything_or_is_kept(answer: HTMLResponse) -> None:
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    text = html(answer)
    assert 'name="robots" content="noindex"' in text
    assert 'name="viewport"' in text
    for part in ("<script", "onload", "onsubmit", " src=", "http-equiv"):
        assert part not in text


def test_what_is_put_in_stays_text() -> None:
    answer = page(EVIL, EVIL, back=EVIL, form=Form(EVIL, EVIL))
    assert "<script" not in html(answer)
    assert html(answer).count("&lt;script&gt;") == 6
    assert html(unsubscribe_page(EVIL, back=EVIL)).count("&lt;script&gt;") == 2


def test_a_page_without_a_form_has_none() -> None:
    assert "<form" not in html(page("T", "t", back=BACK))
