"""`skene grant`, `skene override`, and what `skene usage` shows of them and of members."""

import json

import anyio
import pytest

from tests.cli.project import CONFIG, Project


def shown(project: Project, subject: str, *options: str) -> dict[str, list[dict[str, object]]]:
    result = project.run("usage", subject, "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_units_are_granted_once_under_a_key(project: Project) -> None:
    asked = ("grant", "ada", "calls", "500", "--expires", "30d", "--reason", "sorry", "--key", "monday")
    assert project.run(*asked).stdout == "ada: 500 units of calls granted\n"
    assert "before" in project.run(*asked).stdout
    until = ("--expires", "2999-01-31")
    assert project.run("grant", "bob", "calls", "5", *until).exit_code == 0
    assert shown(project, "bob")["grants"][0]["expires_at"] == "2999-01-31T00:00:00+00:00"
    made = project.run("override", "set", "bob", "calls", "5", *until).stdout
    assert made == "bob: the limit of calls is 5, until 2999-01-31 00:00:00 UTC\n"
    (grant,) = shown(project, "ada")["grants"]
    assert (grant["units"], grant["reason"], grant["expires_at"] is not None) == (500, "sorry", True)


def test_a_limit_is_replaced_and_taken_back(project: Project) -> None:
    set_ = project.run("override", "set", "ada", "calls", "5000", "--expires", "90d", "--reason", "pilot")
    assert set_.stdout.startswith("ada: the limit of calls is 5,000, until 20")
    assert shown(project, "ada")["usage"][0]["limit"] == 5000
    assert project.run("override", "set", "ada", "calls", "unlimited").exit_code == 0
    assert shown(project, "ada")["usage"][0]["limit"] is None
    kept = shown(project, "ada")["overrides"]
    assert [(one["limit"], one["reason"], one["in_force"]) for one in kept] == [
        (5000, "pilot", False),
        ("Infinity", "", True),
    ]
    table = project.run("usage", "ada").stdout
    assert "pilot" in table
    assert "in force" in table
    ended = project.run("override", "end", "ada", "calls")
    assert ended.stdout == "ada: the plan's limit of calls holds again\n"
    again = project.run("override", "end", "ada", "calls")
    assert (again.exit_code, "no other limit of calls" in again.stderr) == (1, True)
    assert shown(project, "ada")["usage"][0]["limit"] == 2


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("grant", "ada", "cals", "5"), "did you mean 'calls'"),
        (("grant", "ada", "calls", "0"), "units: got 0"),
        (("grant", "ada", "calls", "5", "--expires", "soon"), "expires: got"),
        (("grant", "ada", "calls", "5", "--expires", "2020-01-01"), "which has passed"),
        (("grant", "ada", "calls", "5", "--key", ""), "key: got"),
        (("override", "set", "ada", "cals", "5"), "did you mean 'calls'"),
        (("override", "set", "ada", "calls", "1.5"), "limit: got"),
        (("override", "set", "ada", "calls", "9" * 5000), "limit: got"),
        (("override", "set", "ada", "calls", "--", "-1"), "limit: got -1"),
        (("override", "set", "ada", "calls", "5", "--expires", "soon"), "expires: got"),
        (("override", "end", "ada", "cals"), "did you mean 'calls'"),
    ],
)
def test_what_is_wrong_is_told(project: Project, command: tuple[str, ...], said: str) -> None:
    result = project.run(*command)
    assert (result.exit_code, said in result.stderr) == (1, True), result.output
    assert "Traceback" not in result.output


def test_the_group_shows_its_help(project: Project) -> None:
    assert "override end" in project.run("override").stdout or "end" in project.run("override").stdout


def test_members_have_lines_of_their_own(empty: Project) -> None:
    written = CONFIG.replace('meter="calls"', 'meter="calls", member_limit={"free": 1}')
    empty.write("skene_config.py", written)

    async def use() -> None:
        import skene_config

        async with skene_config.skene as skene:
            await skene.consume("acme", "calls", member="ada")
            await skene.consume("acme", "calls", member="bob")

    empty.run("db", "upgrade")
    anyio.run(use)
    assert [one["member"] for one in shown(empty, "acme")["usage"]] == [None]
    told = shown(empty, "acme", "--members")["usage"]
    assert [(one["meter"], one["member"], one["used"]) for one in told] == [
        ("calls", None, 2),
        ("calls@ada", "ada", 1),
        ("calls@bob", "bob", 1),
    ]
    assert "calls@bob" in empty.run("usage", "acme", "--members").stdout
    assert "each member of a team free: 1" in empty.run("check").stdout
