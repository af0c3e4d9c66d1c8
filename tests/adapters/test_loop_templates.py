"""Mails of loops: what their templates may use, names they can do without, and those that ship with skene."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from skene.adapters.mail.templates import Rendered, Templates
from skene.errors import DeliveryRefused
from skene.ports.notifier import MessageContext, Profile

SUBJECT = '{% set subject = "S" %}\n'
LINK = "https://app.acme.test/skene/unsubscribe?token=abc"
LIMIT_WORDS = ("message", "meter", "plan", "limit", "used", "remaining", "period", "resets_at")


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    return Templates(tmp_path)


def write(folder: Path, text: str, html: str | None = None, name: str = "t") -> None:
    (folder / f"{name}.txt").write_text(SUBJECT + text, "utf-8")
    if html is not None:
        (folder / f"{name}.html").write_text(html, "utf-8")


def context(template: str = "t", name: str | None = "Ada", **fields: Any) -> MessageContext:
    more = {"data": {"loop": "activation", "subject": "ada"}, **fields}
    return MessageContext(template=template, user=Profile(email="ada@acme.test", name=name), **more)


# --- what a template may use ---


def test_a_loops_mail_sees_user_event_row_loop_and_the_unsubscribe_link(
    tmp_path: Path, templates: Templates
) -> None:
    text = "{{ user.name }} {{ event.plan }} {{ event.card.last4 }} {{ row.tags | join('+') }} {{ loop }}"
    write(
        tmp_path,
        text + " {{ own }} {{ row.due | date }} {% for i in event.items %}{{ i.id }};{% endfor %}"
        " {{ unsubscribe_url }}",
        '<a href="{{ row.url }}">{{ event.plan }}</a>',
    )
    own = {"own": "{{ event.plan }}/{{ row.tags[0] }}/{{ loop }}"}
    templates.check("t", personalization=own, about="loop")
    done = templates.render(
        context(
            personalization=own,
            event={"plan": "<pro>", "card": {"last4": "4242"}, "items": [{"id": 1}, {"id": 2}]},
            row={"tags": ["a", "b"], "due": "2026-03-01", "url": "https://acme.test/x"},
            unsubscribe_url=LINK,
        )
    )
    assert done.text == f"Ada <pro> 4242 a+b activation <pro>/a/activation 1 March 2026 1;2; {LINK}\n"
    assert done.html == '<a href="https://acme.test/x">&lt;pro&gt;</a>'


@pytest.mark.parametrize("name", LIMIT_WORDS)
def test_a_loop_without_a_limit_has_no_words_of_one(tmp_path: Path, templates: Templates, name: str) -> None:
    write(tmp_path, f"{{{{ {name} }}}}")
    with pytest.raises(ValueError, match=f"unknown variable '{name}'"):
        templates.check("t", about="loop")
    write(tmp_path, "hi")
    with pytest.raises(ValueError, match=f"unknown variable '{name}'"):
        templates.check("t", personalization={"x": f"{{{{ {name} }}}}"}, about="loop")
    with pytest.raises(ValueError, match=f"unknown variable '{name}'"):
        templates.check("t", subject_line=f"{{{{ {name} }}}}", about="loop")


@pytest.mark.parametrize("name", ["event", "row", "unsubscribe_url"])
def test_a_message_about_a_limit_has_no_words_of_a_loop(
    tmp_path: Path, templates: Templates, name: str
) -> None:
    write(tmp_path, f"{{{{ {name} }}}}")
    with pytest.raises(ValueError, match=f"unknown variable '{name}'"):
        templates.check("t")


@pytest.mark.parametrize(
    "text",
    [
        "{{ row.a.b.c }}",
        "{{ event.list[0].x }}",
        "{{ event['list']['x'] }}",
        "{{ event.name.upper() }}",
        "{{ row.n + 1 }}",
        "{% if row.n * 2 > event.m %}{% endif %}",
        "{% for x in row.many %}{{ x.y }}{% endfor %}",
        "{{ row.tags | join(', ') }}",
        "{{ event.due | date }}",
        "{{ user.address.city }}",
    ],
)
def test_whatever_is_asked_of_a_row_is_there_while_checking(
    tmp_path: Path, templates: Templates, text: str
) -> None:
    write(tmp_path, text, '<a href="{{ row.url }}">x</a>')
    templates.check("t", about="loop")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ row.__class__ }}", "__class__"),
        ("{{ event.a.__class__ }}", "unsafe|__class__"),
        ("{{ row }}", "'row' holds several values"),
        ("{{ rwo.x }}", "unknown variable 'rwo'.*did you mean 'row'"),
        ("{{ evnt.x }}", "unknown variable 'evnt'.*did you mean 'event'"),
    ],
)
def test_what_cannot_work_is_found_all_the_same(
    tmp_path: Path, templates: Templates, text: str, expected: str
) -> None:
    write(tmp_path, text)
    with pytest.raises(ValueError, match=expected):
        templates.check("t", about="loop")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ row.due }}", "'row.due' is not given"),
        ("{{ event.gone }}", "'event.gone' has no value"),
        ("{{ event.card.last4 }}", "'event.card.last4' is not given"),
        ("{{ unsubscribe_url }}", "'unsubscribe_url' has no value"),
    ],
)
def test_a_missing_value_stops_the_message_and_is_named(
    tmp_path: Path, templates: Templates, text: str, expected: str
) -> None:
    write(tmp_path, text)
    templates.check("t", about="loop")
    with pytest.raises(DeliveryRefused) as caught:
        templates.render(context(event={"gone": None, "card": {}}))
    assert str(caught.value) == f"t.txt, line 2: {expected}"


def test_a_row_cannot_stand_in_for_the_user_or_run_as_a_template(
    tmp_path: Path, templates: Templates
) -> None:
    write(tmp_path, "{{ user.name }} {{ own }}", "<p>{{ own }}</p>")
    evil = "{{ user.email }}<script>"
    done = templates.render(
        context(
            data={"user": "nobody", "event": "none", "row": "none"},
            personalization={"own": "{{ row.text }}"},
            row={"text": evil},
        )
    )
    assert done.text == f"Ada {evil}\n"
    assert done.html == "<p>{{ user.email }}&lt;script&gt;</p>"


# --- names it can do without ---


def test_a_name_that_is_asked_about_may_be_missing(tmp_path: Path, templates: Templates) -> None:
    write(
        tmp_path,
        "{% if link is defined %}to {{ link }}{% else %}nowhere{% endif %} {{ tone | default('kindly') }}"
        "{% if off is undefined or not off %}!{% endif %}",
        "{% if link is defined %}<a href='{{ link }}'>x</a>{% endif %}",
    )
    templates.check("t", about="loop")
    assert templates.render(context()).text == "nowhere kindly!\n"
    own = {"link": "https://acme.test/", "tone": "loudly"}
    assert templates.render(context(personalization=own)).text == "to https://acme.test/ loudly!\n"
    templates.check("t", personalization={"x": "{{ nick | default('you') }}"}, about="loop")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("{% if link is defined %}{{ lnik }}{% endif %}", None),
        ("{{ lnik }}", "{{ link | default('') }}"),
        ("{% if link is defined %}{{ link }}{% endif %}", "{{ lnik }}"),
        ("{{ 'x' | default(lnik) }}", None),
        ("{% if lnik is none %}{% endif %}", None),
    ],
)
def test_a_typo_is_still_found(tmp_path: Path, templates: Templates, text: str, html: str | None) -> None:
    write(tmp_path, text, html)
    with pytest.raises(ValueError, match="unknown variable 'lnik'"):
        templates.check("t", about="loop")


def test_what_one_file_asks_about_is_not_known_in_another(tmp_path: Path, templates: Templates) -> None:
    write(tmp_path, "{% if link is defined %}{{ link }}{% endif %}", "{{ link }}")
    with pytest.raises(ValueError, match=r"t\.html, line 1: unknown variable 'link'"):
        templates.check("t", about="loop")


# --- what ships with skene ---

WORDS = {
    "activation_welcome": {"name": "{{ user.name }}", "activationLink": "https://app.acme.test/go?a=1&b=2"},
    "re_engagement": {
        "name": "{{ user.name }}",
        "lastActivity": "{{ row.last }}",
        "returnLink": "https://app.acme.test/go?a=1&b=2",
    },
    "trial_ending": {"ends_at": "{{ event.ends }}", "upgradeUrl": "https://app.acme.test/go?a=1&b=2"},
}
NEEDED = {"trial_ending": ("ends_at",)}


def visible(html: str | None) -> str:
    without = re.sub(r"<(style|head|title)\b.*?</\1>", "", html or "", flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", without).split())


def packaged(templates: Templates, template: str, name: str | None = "Ada", **fields: Any) -> Rendered:
    values = {
        "personalization": WORDS[template],
        "row": {"last": "2026-03-01T08:30:00+00:00"},
        "event": {"ends": "2026-12-23"},
        "unsubscribe_url": LINK,
        **fields,
    }
    return templates.render(context(template, name, **values))


@pytest.mark.parametrize("template", WORDS)
def test_a_packaged_mail_says_hello_where_to_go_and_how_to_unsubscribe(
    templates: Templates, template: str
) -> None:
    templates.check(template, personalization=WORDS[template], about="loop")
    done = packaged(templates, template)
    for content in (done.text, visible(done.html)):
        assert "Hello Ada," in content
        assert "You get this message" in content
        assert "nsubscribe" in content
    assert "https://app.acme.test/go?a=1&b=2\n" in done.text
    assert done.text.endswith(f"{LINK}\n")
    assert done.html is not None
    assert done.html.count('href="https://app.acme.test/go?a=1&amp;b=2"') == 2, "button and plain link"
    assert done.html.count(f'href="{LINK}"') == 1


@pytest.mark.parametrize("template", WORDS)
def test_a_packaged_mail_does_without_what_is_optional(templates: Templates, template: str) -> None:
    own = {key: WORDS[template][key] for key in NEEDED.get(template, ())}
    templates.check(template, personalization=own, about="loop")
    for words in (own, {**dict.fromkeys(WORDS[template], ""), **own}):
        done = packaged(templates, template, None, personalization=words, unsubscribe_url=None)
        for content in (done.subject, done.text, visible(done.html)):
            assert "None" not in content
            assert "  " not in content
            assert " ," not in content
            assert "nsubscribe" not in content
        assert "Hello," in done.text
        assert "https:" not in done.text
        assert "<a " not in (done.html or "")
        assert "\n\n\n" not in done.text


@pytest.mark.parametrize("template", WORDS)
def test_a_packaged_mail_loads_nothing_and_fits_a_small_screen(templates: Templates, template: str) -> None:
    html = packaged(templates, template).html
    assert html is not None
    tags: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not {name for name, _ in attrs} & {"src", "background", "onclick", "srcset"}

    Parser().feed(html)
    assert not {"img", "script", "link", "iframe", "video", "form"} & set(tags)
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html
    assert not re.search(r"(?<!-)width:\s*\d{3,}px", html)
    assert len(html) < 20_000


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-03-01T08:30:00+00:00", "1 March 2026"),
        ("2026-03-01 23:30:00-05", "2 March 2026"),
        ("2026-03-01 08:30:00.123456", "1 March 2026"),
        ("2026-03-01", "1 March 2026"),
        ("last spring", "last spring"),
    ],
)
def test_dates_come_in_whatever_form_a_row_has(templates: Templates, given: str, shown: str) -> None:
    last = packaged(templates, "re_engagement", row={"last": given})
    assert f"You were last here on {shown}." in last.text
    assert f"You were last here on {shown} ." in visible(last.html)
    ends = packaged(templates, "trial_ending", event={"ends": given})
    assert ends.subject == f"Your trial ends on {shown}"
    assert f"until {shown}" in visible(ends.html)


def test_the_end_of_a_trial_is_not_left_out_by_mistake(templates: Templates) -> None:
    with pytest.raises(ValueError, match=r"unknown variable 'ends_at'.*did you mean 'endsAt'"):
        templates.check("trial_ending", personalization={"endsAt": "2026-12-23"}, about="loop")


def test_a_layout_of_ones_own_text_can_include_the_footer(tmp_path: Path, templates: Templates) -> None:
    write(tmp_path, 'Hi\n{% include "skene_footer.txt" %}', '{% extends "skene_layout.html" %}')
    for about in ("loop", "limit"):
        templates.check("t", about=about)  # type: ignore[arg-type]  # a plain str in a loop
    assert templates.render(context()).text == "Hi\n"
    assert LINK in templates.render(context(unsubscribe_url=LINK)).text
    with pytest.raises(LookupError, match="no template 'skene_foter'"):
        templates.check("skene_foter")
