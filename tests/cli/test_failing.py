"""How a failure is told: in words, as data, and where to read on."""

import json

import pytest

from skene.cli.failing import as_json, report_error
from skene.errors import SchemaOutdated
from tests.cli.project import CONFIG, LOOP, Project

OUTDATED = CONFIG.replace('"app.db"', '"app.db", migrate=False')


def test_an_error_says_what_to_do_and_where_to_read_on(empty: Project) -> None:
    empty.write("skene_config.py", OUTDATED)
    result = empty.run("usage", "ada")
    error, help_ = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert help_.startswith("help: schema_outdated: Run `skene db upgrade`. https://")
    assert help_.endswith("/docs/reference/errors.md#schema_outdated")
    assert not result.stdout


def test_with_json_it_is_an_object_as_well(empty: Project) -> None:
    empty.write("skene_config.py", OUTDATED)
    result = empty.run("usage", "ada", "--json")
    error = json.loads(result.stdout)["error"]
    assert list(error) == ["code", "message", "fix", "docs"]
    assert (error["code"], error["fix"]) == ("schema_outdated", SchemaOutdated.fix)
    assert error["message"] in result.stderr
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("config", "args", "code"),
    [
        (CONFIG, ("log", "--loop", "fremium", "--json"), "command_failed"),
        (None, ("log", "--json"), "configuration_not_loaded"),
        (LOOP.replace('"free": 2', '"free": "2"'), ("log", "--json"), "definition_invalid"),
    ],
)
def test_each_failure_has_its_code(
    empty: Project, config: str | None, args: tuple[str, ...], code: str
) -> None:
    if config is not None:
        empty.write("skene_config.py", config)
    assert json.loads(empty.run(*args).stdout)["error"]["code"] == code


def test_problems_of_a_check_have_codes(empty: Project) -> None:
    empty.write("skene_config.py", LOOP.replace('"free": 2', '"free": "2"'))
    (problem,) = json.loads(empty.run("check", "--json").stdout)["problems"]
    assert problem["code"] == "definition_invalid"
    empty.write("other_config.py", CONFIG.replace('{"resend"', '{"other"'))
    (problem, *_) = json.loads(empty.run("check", "--json", "--config", "other_config:skene").stdout)[
        "problems"
    ]
    assert problem["code"] == "configuration_invalid"


def test_what_nobody_thought_of_has_a_code_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    error = RuntimeError("bad key sk_live_abcdefghijklmnop")
    told = as_json(ExceptionGroup("several", [error]))
    assert (told["code"], told["fix"]) == ("unexpected_error", "")
    report_error(error)
    assert "sk_live" not in told["message"] + capsys.readouterr().err
