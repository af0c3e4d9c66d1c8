"""Local templates: found, checked before anybody is written to, and safe to send."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from skene.adapters.mail.links import unsafe_link
from skene.adapters.mail.templates import Rendered, Templates
from skene.errors import DeliveryRefused
from skene.ports.notifier import MessageContext, Profile
from skene.testing.notifier_conformance import message

PACKAGED = ["upgrade_prompt", "usage_warning"]


class Folder:
    """A user's templates folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.templates = Templates(path)

    def write(self, name: str, text: str | None = None, html: str | None = None) -> None:
        for suffix, content in ((".txt", text), (".html", html)):
            if content is not None:
                file = self.path / f"{name}{suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content, "utf-8")

    def render(self, name: str, **data: Any) -> Rendered:
        return self.templates.render(message(template=name, **data))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "templates")


def visible(html: str) -> str:
    """The words of a page."""
    without = re.sub(r"<(style|head|title)\b.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", without).split())


# --- what ships with skene ---


def test_the_upgrade_prompt_says_what_a_person_needs_to_know(folder: Folder) -> None:
    done = folder.render("upgrade_prompt", limit=1000, used=1000)
    assert done.subject == "You have reached the limit of your free plan"
    assert done.html is not None
    for content in (done.text, visible(done.html)):
        for part in (
            "Hello Ada,",
            "1,000 of 1,000",
            "free plan",
            "1 March 2026 at 08:30 UTC",
            "pgrade your plan",
            "You get this message once",
        ):
            assert part in content
    assert "https://app.acme.test/skene/upgrade?t=abc&u=1" in done.text
    assert done.html.count('href="https://app.acme.test/skene/upgrade?t=abc&amp;u=1"') == 2, (
        "button and plain link"
    )


def test_the_usage_warning_says_what_is_left(folder: Folder) -> None:
    done = folder.render("usage_warning", limit=200, used=160, remaining=40)
    assert done.subject == "You have used 80% of your free plan"
    assert "160 of 200 used, 40 left." in done.text
    assert "Everything still works." in done.text
    assert done.html is not None
    assert "width: 80%" in done.html
    assert "used all" in folder.render("usage_warning").text


@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_mail_loads_nothing_and_fits_a_small_screen(folder: Folder, name: str) -> None:
    html = folder.render(name).html
    assert html is not None
    tags: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not {name for name, _ in attrs} & {"src", "background", "onclick", "srcset"}

    Parser().feed(html)
    assert not {"img", "script", "link", "iframe", "video", "form"} & set(tags)
    assert "url(" not in html
    assert "@import" not in html
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html
    assert not re.search(r"(?<!-)width:\s*\d{3,}px", html)
    assert len(html) < 20_000, "some mail programs cut longer ones"


@pytest.mark.parametrize("name", PACKAGED)
@pytest.mark.parametrize("absent", ["resets_at", "upgrade_url", "name"])
def test_a_packaged_mail_does_without(folder: Folder, name: str, absent: str) -> None:
    """A lifetime window never renews; a back-end of hand-set plans has nothing to sell."""
    context = message(template=name, **({} if absent == "name" else {absent: None}))
    if absent == "name":
        context = message(name=None, template=name)
    done = folder.templates.render(context)
    for content in (done.subject, done.text, visible(done.html or "")):
        assert "None" not in content
        assert "  " not in content
        assert " ," not in content
    assert "\n\n\n" not in done.text
    assert {"resets_at": "renews", "upgrade_url": "https:", "name": "Ada"}[absent] not in done.text


# --- where a template is looked for ---


def test_the_users_folder_comes_first_and_is_taken_whole(folder: Folder) -> None:
    folder.write("upgrade_prompt", '{% set subject = "Mine" %}\nMy text')
    assert folder.render("upgrade_prompt") == Rendered("Mine", "My text\n", None)


def test_the_layout_of_packaged_mails_can_be_replaced(folder: Folder) -> None:
    folder.write("skene_layout", html="<main>{{ subject }}{% block content %}{% endblock %}</main>")
    html = folder.render("upgrade_prompt").html
    assert html is not None
    assert html.startswith("<main>You have reached the limit of your free plan")


def test_a_folder_below_the_folder(folder: Folder) -> None:
    folder.write("de/willkommen", '{% set subject = "Willkommen" %}\nGrüße', "<p>Grüße</p>")
    folder.templates.check("de/willkommen")
    assert folder.render("de/willkommen").text == "Grüße\n"
    with pytest.raises(LookupError, match="did you mean 'de/willkommen'"):
        folder.templates.check("de/wilkommen")


def test_a_missing_template_names_the_places(folder: Folder) -> None:
    with pytest.raises(LookupError) as caught:
        folder.templates.check("welcome")
    assert str(folder.path) in str(caught.value)
    assert "welcome.txt" in str(caught.value)
    with pytest.raises(LookupError, match="did you mean 'upgrade_prompt'"):
        folder.templates.check("upgrade-prompt")


# --- what is found before anybody is written to ---

SUBJECT = '{% set subject = "S" %}\n'


@pytest.mark.parametrize(
    ("text", "html", "expected"),
    [
        (None, "<p>Hi</p>", r"t\.html has no text part; add t\.txt"),
        ("Hi", None, r"t\.txt sets no subject"),
        ('{% set subject = "  " %}Hi', None, r"t\.txt sets no subject"),
        (SUBJECT + "a\n{% if %}", None, r"t\.txt, line 3: "),
        (SUBJECT + "{{ used | shout }}", None, r"t\.txt, line 2: .*shout"),
        (
            SUBJECT + "a\nb {{ limt }}",
            None,
            r"t\.txt, line 3: unknown variable 'limt'.*did you mean 'limit'\?",
        ),
        (SUBJECT, "<p>\n{{ user_name }}</p>", r"t\.html, line 2: unknown variable 'user_name'"),
        (SUBJECT, "{% if false %}{{ nme }}{% endif %}", r"t\.html, line 1: unknown variable 'nme'"),
        (SUBJECT + "{{ oops }}", "{{ nope }}", "(?s)oops.*nope"),
        (SUBJECT, '{% extends "layot.html" %}', r"t\.html needs layot\.html"),
        (SUBJECT, '{% include "part.html" %}', r"part\.html, line 1: unknown variable 'ghost'"),
        (SUBJECT + "{{ user.__class__ }}", None, "__class__"),
        (SUBJECT + "{{ used.__class__.__mro__ }}", None, "unsafe"),
        (SUBJECT + "{{ used + message }}", None, r"t\.txt, line 2: raised TypeError"),
        (SUBJECT + "{{ user }}", None, "name one of them"),
        (SUBJECT, '<a href="/upgrade">x</a>', r"t\.html: the href of <a> on line 1"),
        ("{% set subject %}a\nb{% endset %}", None, "line break"),
        (SUBJECT + "{{ 'x' * 600000 }}", None, "at most 500000"),
    ],
)
def test_a_template_that_cannot_be_sent(
    folder: Folder, text: str | None, html: str | None, expected: str
) -> None:
    folder.write("part", html="{{ ghost }}")
    folder.write("t", text, html)
    with pytest.raises(ValueError, match=expected):
        folder.templates.check("t")


def test_a_template_that_is_not_utf_8(folder: Folder) -> None:
    folder.write("t", "")
    (folder.path / "t.txt").write_bytes(b'{% set subject = "S" %}gr\xfc\xdfe')
    with pytest.raises(ValueError, match=r"t\.txt is not UTF-8"):
        folder.templates.check("t")


def test_what_a_template_may_use(folder: Folder) -> None:
    """A profile's own attributes, loops, macros, includes, blocks, the loop's personalization."""
    folder.write("part", html="<i>{{ plan }}</i>")
    folder.write(
        "t",
        "{% set subject %}Hello {{ user.team }}{% endset %}\n"
        "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}\n"
        "{{ twice(used) }} {% for n in range(2) %}{{ loop.index }}{% endfor %} "
        "{{ user.seats + 1 }} {{ note }}\n"
        "{{ resets_at | date }} {{ user.nick | default('friend') }} "
        "{{ limit is none }} {{ remaining is none }}",
        '{% include "part.html" %}<a href="{{ user.website }}">{{ subject }}</a>',
    )
    folder.templates.check("t", personalization={"note": "for {{ user.name }}"})
    user = Profile.model_validate(
        {"email": "a@b.test", "name": "Ada", "team": "Blue", "seats": 3, "website": "https://ada.test"}
    )
    context = message(template="t", personalization={"note": "for {{ user.name }}"}, remaining=None)
    done = folder.templates.render(context.model_copy(update={"user": user}))
    assert done.subject == "Hello Blue"
    assert done.text == "100100 12 4 for Ada\n1 March 2026 friend False True\n"
    assert done.html == '<i>free</i><a href="https://ada.test">Hello Blue</a>'


def test_blocks_and_layouts_see_what_the_page_sets(folder: Folder) -> None:
    folder.write("frame", html="<main>{{ tone }}{% block content %}{% endblock %}</main>")
    folder.write("macros", html="{% macro shout(x) %}{{ x | upper }}!{% endmacro %}")
    page = '{% extends "frame.html" %}{% import "macros.html" as m %}{% set tone = "kind" %}'
    folder.write("t", SUBJECT, page + "{% block content %}{{ m.shout(plan) }} {{ tone }}{% endblock %}")
    folder.templates.check("t")
    assert folder.render("t").html == "<main>kindFREE! kind</main>"


def test_a_subject_line_of_the_loop_stands_in_for_the_templates(folder: Folder) -> None:
    folder.write("t", "Hi")
    folder.templates.check("t", subject_line="{{ plan }}: {{ message }}")
    done = folder.templates.render(message(template="t", subject_line="{{ plan }}: {{ message }}"))
    assert done.subject == "free: You've reached your free tier limit. Upgrade to continue.", "not escaped"
    with pytest.raises(ValueError, match="subject, line 1"):
        folder.templates.check("t", subject_line="{{ plan")


# --- what stops one message ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ user.nickname }}", "t.txt, line 3: 'user.nickname' is not given"),
        ("{{ user.name }}", "t.txt, line 3: 'user.name' has no value"),
        ("{{ 'Hi ' ~ user.name }}", "t.txt, line 3: 'user.name' has no value"),
        ("{{ user.name | upper }}", "t.txt, line 3: 'user.name' has no value"),
        ("{{ resets_at | moment }}", "t.txt, line 3: 'resets_at' has no value"),
        ("{{ user.items() }}", "t.txt, line 3: 'user.items' is not given"),
    ],
)
def test_a_missing_value_is_named_with_its_line(folder: Folder, text: str, expected: str) -> None:
    folder.write("t", SUBJECT + "\n" + text)
    with pytest.raises(DeliveryRefused) as caught:
        folder.templates.render(message(name=None, template="t", resets_at=None))
    assert str(caught.value) == expected


def test_no_value_can_be_asked_for(folder: Folder) -> None:
    folder.write(
        "t", SUBJECT + "{% if user.name %}{{ user.name }}{% else %}you{% endif %} {{ user.name or 'you' }}"
    )
    folder.templates.check("t")
    assert folder.templates.render(message(name=None, template="t")).text == "you you\n"
    assert folder.templates.render(message(template="t")).text == "Ada Ada\n"


def test_an_error_shows_its_type_and_no_value(folder: Folder) -> None:
    folder.write(
        "t", SUBJECT + "{{ user.email | int(base=0) }}{{ [][user.email | length] }}{{ 1 // (used - 100) }}"
    )
    with pytest.raises(DeliveryRefused) as caught:
        folder.render("t")
    assert "ada" not in str(caught.value)


def test_a_template_that_vanished_stops_its_messages_only(folder: Folder) -> None:
    with pytest.raises(DeliveryRefused, match="there is no template 'gone'"):
        folder.render("gone")
    assert folder.render("upgrade_prompt")


def test_half_characters_and_control_characters_do_not_reach_the_outbox(folder: Folder) -> None:
    for bad in ("\ud800", "a\x00b", "\x1b[31m"):
        with pytest.raises(DeliveryRefused, match="character"):
            folder.render("upgrade_prompt", message=bad)


def test_personalization_is_the_loops_and_the_data_stays_data(folder: Folder) -> None:
    """What a person typed into their profile is never run as a template."""
    folder.write("t", SUBJECT + "{{ note }} {{ user.name }}", "<p>{{ note }} {{ user.name }}</p>")
    context = MessageContext(
        template="t",
        user=Profile(email="a@b.test", name="{{ limit }}<script>"),
        data={"limit": 7},
        personalization={"note": "of {{ limit }} for {{ user.name }}"},
    )
    done = folder.templates.render(context)
    assert done.text == "of 7 for {{ limit }}<script> {{ limit }}<script>\n"
    assert done.html == "<p>of 7 for {{ limit }}&lt;script&gt; {{ limit }}&lt;script&gt;</p>"


# --- links ---


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "java\tscript:alert(1)",
        "\x01javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.test",
        "/\\evil.test",
        "/relative",
        "relative",
        "",
        "https://",
        "https:///x",
        "https:evil.test",
        "http://user@evil.test/",
    ],
)
def test_an_address_that_is_not_of_the_web_stops_the_message(folder: Folder, url: str) -> None:
    folder.write("t", SUBJECT, '<p>\n<a class="x" href="{{ link }}">x</a>')
    context = message(template="t", link=url)
    with pytest.raises(DeliveryRefused, match=r"t\.html.*"):
        folder.templates.render(context)


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.test",
        "HTTP://acme.test/x?y=1&z=2#w",
        "https://acme.test/?next=javascript:alert(1)",
        "mailto:help@acme.test",
        "tel:+3581234",
        "#part",
    ],
)
def test_an_address_of_the_web_is_kept(folder: Folder, url: str) -> None:
    folder.write("t", SUBJECT, '<a href="{{ link }}">x</a>')
    assert f'href="{url.replace("&", "&amp;")}"' in (folder.render("t", link=url).html or "")


def test_entities_do_not_hide_a_scheme() -> None:
    assert unsafe_link('<a href="&#106;avascript:alert(1)">x</a>')
    assert unsafe_link("<A HREF=javascript&colon;alert(1)>x</A>")
    assert unsafe_link('<svg><a xlink:href="javascript:x">')
    assert unsafe_link("<img src=x>")
    assert unsafe_link("<form action='javascript:x'>")
    assert unsafe_link('<a href="https://ok.test">x</a><p>javascript:</p>') is None
