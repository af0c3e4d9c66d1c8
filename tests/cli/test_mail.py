"""`skene mail preview`: the mail with sample values, and words for what is missing."""

import json
from pathlib import Path

import pytest

from tests.cli.project import CONFIG, LOOP, Project

SUBJECT = '{% set subject = "Hello " ~ user.name %}\n'
TWO = (
    LOOP
    + """
from skene.adapters.resend import ResendNotifier

skene = Skene(
    freemium,
    storage=SqliteStorage("app.db"),
    notifiers={
        "files": FileNotifier("outbox", templates="here"),
        "resend": ResendNotifier("re_abcdef", "Acme <team@acme.test>", templates="there"),
    },
)
"""
)


@pytest.mark.parametrize(
    "template", ["activation_welcome", "re_engagement", "trial_ending", "upgrade_prompt", "usage_warning"]
)
def test_every_packaged_mail_shows_without_a_configuration(empty: Project, template: str) -> None:
    result = empty.run("mail", "preview", template)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("Subject: ")
    assert "Hello Ada," in result.stdout
    file = Path("outbox") / f"preview-{template}.html"
    assert result.stdout.endswith(f"\nHTML: {file}\n")
    assert (empty.folder / file).read_text("utf-8").lstrip().startswith("<!doctype html>")
    assert ("Unsubscribe" in result.stdout) == (template not in ("upgrade_prompt", "usage_warning"))
    assert [path.name for path in empty.folder.rglob("*") if path.is_file()] == [file.name]


def test_sample_values_reach_the_template(empty: Project) -> None:
    empty.write(
        "templates/welcome.txt",
        SUBJECT + "{{ user.team }} {{ user.seats + 1 }} {{ event.plan }} {{ event.card.last4 }} "
        "{{ row.n * 2 }} {{ code }}",
    )
    values = ("event.plan=pro", "event.card.last4=x4242", "row.n=21", "code=007", "other=a=b")
    args = [part for value in values for part in ("--value", value)]
    users = [part for value in ("name=Bob", "team=Blue", "seats=3") for part in ("--user", value)]
    result = empty.run("mail", "preview", "welcome", *args, *users)
    assert result.stdout == "Subject: Hello Bob\n\nBlue 4 pro x4242 42 007\n\nThere is no HTML part.\n"


def test_a_value_of_a_limit_is_a_number(empty: Project) -> None:
    result = empty.run("mail", "preview", "usage_warning", "--value", "used=80", "--value", "remaining=20")
    assert "You have used 80% of your free plan" in result.stdout
    without = empty.run("mail", "preview", "upgrade_prompt", "--value", "upgrade_url=null")
    assert "Upgrade your plan" not in without.stdout


def test_as_json(empty: Project) -> None:
    result = empty.run(
        "mail", "preview", "re_engagement", "--json", "--out", "a/b.html", "--user", "name=null"
    )
    shown = json.loads(result.stdout)
    assert set(shown) == {"template", "about", "provider", "subject", "text", "html", "variables"}
    assert (shown["about"], shown["provider"], shown["html"]) == ("loop", None, "a/b.html")
    assert shown["subject"] == "It has been a while"
    assert "You were last here on 1 March 2026." in shown["text"]
    assert (empty.folder / "a" / "b.html").is_file()
    assert not (empty.folder / "outbox").exists()


def test_the_configurations_notifiers_are_used(empty: Project) -> None:
    empty.write("skene_config.py", TWO)
    empty.write("here/mine.txt", SUBJECT + "here")
    empty.write("there/mine.txt", SUBJECT + "there")
    assert "\nhere\n" in empty.run("mail", "preview", "mine").stdout
    assert "\nthere\n" in empty.run("mail", "preview", "mine", "--provider", "resend").stdout
    shown = json.loads(empty.run("mail", "preview", "mine", "--provider", "files", "--json").stdout)
    assert (shown["provider"], shown["about"]) == ("files", "loop")


def test_a_hosted_template_shows_what_it_is_given(empty: Project) -> None:
    empty.write("skene_config.py", TWO)
    args = (
        "mail",
        "preview",
        "resend:welcome",
        "--provider",
        "resend",
        "--value",
        "greeting=Hi {{ user.name }}",
    )
    result = empty.run(*args)
    assert "hosted by the provider" in result.stdout
    assert "  GREETING = Hi Ada\n" in result.stdout
    assert "  USER_EMAIL = ada@acme.test\n" in result.stdout
    assert json.loads(empty.run(*args, "--json").stdout)["variables"]["GREETING"] == "Hi Ada"


def test_what_is_about_a_limit_is_told_by_its_words(empty: Project) -> None:
    empty.write("templates/mine.txt", SUBJECT + "{{ used }} of {{ limit }}")
    shown = json.loads(empty.run("mail", "preview", "mine", "--json").stdout)
    assert (shown["about"], shown["text"]) == ("limit", "100 of 100\n")


BAD = {
    "no such template": (
        ("upgrad_prompt",),
        "",
        ("there is no template 'upgrad_prompt'", "did you mean 'upgrade_prompt'"),
    ),
    "a typo": (
        ("mine",),
        "a\n{{ lop }}",
        (
            "mine: mine.txt, line 3: unknown variable 'lop'",
            "known are event, loop,",
            "did you mean 'loop'?",
            "--value",
        ),
    ),
    "a typo beside a limit's words": (
        ("mine",),
        "{{ used }} {{ limt }}",
        ("mine.txt, line 2: unknown variable 'limt'", "did you mean 'limit'?"),
    ),
    "it does not compile": (("mine",), "{% if %}", ("mine: mine.txt, line 2: ",)),
    "a value that is not there": (
        ("mine",),
        "{{ event.plan }}",
        ("mine: mine.txt, line 2: 'event.plan' is not given", "--value event.NAME=VALUE"),
    ),
    "no value": (("mine", "--value", "name"), "", ("--value: got 'name'; give NAME=VALUE such as name=Ada",)),
    "no name": (("mine", "--user", "=x"), "", ("--user: got '=x'",)),
    "a part of nothing": (("mine", "--value", "user.name=x"), "", ("did you mean --user name=x?",)),
    "a part of a value": (
        ("mine", "--value", "row.a=1", "--value", "row.a.b=1"),
        "",
        ("a.b: 'a' was given a value",),
    ),
    "no notifier of that name": (
        ("mine", "--provider", "resent"),
        "",
        ("--provider: no notifier is called 'resent'; there are: resend; did you mean resend?",),
    ),
    "a place that is a folder": (
        ("upgrade_prompt", "--out", "templates"),
        "",
        ("--out: templates cannot be written",),
    ),
    "a link that leads nowhere": (
        ("activation_welcome", "--value", "activationLink=javascript:x"),
        "",
        ("activation_welcome: activation_welcome.html: the href of <a>",),
    ),
    "a bad unsubscribe link": (
        ("activation_welcome", "--value", "unsubscribe_url=http://acme.test"),
        "",
        ("the unsubscribe link is not a full address",),
    ),
}


@pytest.mark.parametrize(("args", "text", "says"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_shown(
    empty: Project, args: tuple[str, ...], text: str, says: tuple[str, ...]
) -> None:
    empty.write("skene_config.py", CONFIG)
    (empty.folder / "templates").mkdir()
    (empty.folder / "templates" / "mine.txt").write_text(SUBJECT + text)
    result = empty.run("mail", "preview", *args)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert not result.stdout
    for part in says:
        assert part in result.stderr
    assert "Traceback" not in result.output


def test_a_configuration_that_does_not_load_is_not_passed_over(
    empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.write("skene_config.py", "skene = 1 / 0\n")
    assert "ZeroDivisionError" in empty.run("mail", "preview", "upgrade_prompt").stderr
    for args in (("--config", "skene_confg:skene"), ("--config", "nowhere:skene")):
        result = empty.run("mail", "preview", "upgrade_prompt", *args)
        assert result.exit_code == 1
        assert "there is no module" in result.stderr
    monkeypatch.setenv("SKENE_CONFIG", "nowhere:skene")
    assert "SKENE_CONFIG: there is no module nowhere" in empty.run("mail", "preview", "upgrade_prompt").stderr
