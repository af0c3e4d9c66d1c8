"""`skene init` in three apps: written, tested by what it wrote, and left alone the second time."""

import json
import sys
from pathlib import Path

import pytest

from skene.cli.init.writing import PATTERNS
from tests.cli.starting import ROOTS, contents, copy_of, init, own_tests, run

CONFIGS = {"single": "skene_config", "package": "skene_config", "tables": "shop.skene_config"}
APPS = {"single": "main:app", "package": "shop.main:app", "tables": "shop.main:app"}


@pytest.mark.parametrize("name", ROOTS)
def test_an_app_becomes_a_gated_one_whose_own_test_passes(name: str, tmp_path: Path) -> None:
    folder = copy_of(name, tmp_path)
    before = contents(folder)
    ended = init(folder, "--yes")
    assert ended.code == 0, ended.out + ended.err
    assert "skene check: ok" in ended.out
    written = contents(folder)
    changed = {path for path, text in before.items() if written[path] != text}
    assert len(changed) == 1  # the file of the app, and no other that was there
    tested = own_tests(folder, root=ROOTS[name])
    assert tested.code == 0, tested.out + tested.err
    assert "3 passed" in tested.out or "4 passed" in tested.out
    again = init(folder, "--yes")
    assert (again.code, "nothing to do" in again.out) == (0, True), again.out + again.err
    assert contents(folder) == written
    checked = run(
        folder,
        *("skene", "check", "--json", "--config", f"{CONFIGS[name]}:skene", "--app", APPS[name]),
        root=ROOTS[name],
    )
    assert checked.code == 0
    assert json.loads(checked.out)["loops"][0]["steps"][0]["routes"]


@pytest.mark.parametrize("name", ROOTS)
def test_the_generated_test_fails_when_the_gate_is_gone(name: str, tmp_path: Path) -> None:
    folder = copy_of(name, tmp_path)
    assert init(folder, "--yes", "--no-check").code == 0
    (file,) = [one for one in folder.rglob("*.py") if ".install(app)" in one.read_text()]
    file.write_text(file.read_text().replace("gate.install(app)", "pass"))
    tested = own_tests(folder, root=ROOTS[name])
    assert tested.code == 1
    assert "test_these_routes_are_gated" in tested.out


NO_DATABASE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}  # neither tests nor types may need it


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_passes_its_own_test(pattern: str, tmp_path: Path) -> None:
    folder = copy_of("tables", tmp_path)
    ended = init(folder, "--yes", "--pattern", pattern, **NO_DATABASE)
    assert ended.code == 0, ended.out + ended.err
    tested = own_tests(folder, root="src", **NO_DATABASE)
    assert tested.code == 0, tested.out + tested.err
    config = (folder / "src/shop/skene_config.py").read_text()
    assert "session.get(User, int(subject))" in config
    if pattern == "activation":
        assert 'trigger.database("users", event="insert")' in config
    if pattern == "retention":
        assert "WHERE last_seen_at < now() - interval '7 days'" in config


def test_every_pattern_type_checks(tmp_path: Path) -> None:
    """All of them in one run of mypy, which reads skene for each run anew."""
    folder = copy_of("tables", tmp_path)
    configs: list[str] = []
    for pattern in PATTERNS:
        own = copy_of("tables", tmp_path / pattern)
        assert init(own, "--yes", "--no-check", "--pattern", pattern, **NO_DATABASE).code == 0
        configs.append(f"src/shop/config_for_{pattern.replace('-', '_')}.py")
        (folder / configs[-1]).write_text((own / "src/shop/skene_config.py").read_text())
    options = ["--strict", "--explicit-package-bases", "--follow-imports=silent"]
    kept = ["--cache-dir", str(tmp_path / "cache")]
    typed = run(folder, sys.executable, "-m", "mypy", *options, *kept, *configs, MYPYPATH="src")
    assert typed.code == 0, typed.out + typed.err
    assert f"in {len(PATTERNS)} source files" in typed.out


def test_who_calls_is_whom_the_routes_ask_for(tmp_path: Path) -> None:
    """Of two in a row it is the outer one, which refuses closed accounts."""
    said = json.loads(init(copy_of("package", tmp_path), "--dry-run", "--json").out)
    assert said["caller"] == "shop.auth:get_active_user"
    gated = {(one["method"], one["path"]) for one in said["routes"] if one["gated"]}
    assert gated == {("POST", "/v1/reports/summaries"), ("POST", "/v1/reports/{report}/exports")}
    assert said["triggers"] == [{"method": "POST", "endpoint": "/v1/reports/*"}]


def test_a_dry_run_writes_nothing_and_shows_all(tmp_path: Path) -> None:
    folder = copy_of("single", tmp_path)
    before = contents(folder)
    ended = init(folder, "--dry-run")
    assert (ended.code, contents(folder)) == (0, before)
    assert "+gate.install(app)" in ended.out
    assert "nothing was written" in ended.out


def test_without_a_terminal_somebody_has_to_agree(tmp_path: Path) -> None:
    folder = copy_of("single", tmp_path)
    before = contents(folder)
    ended = init(folder)
    assert (ended.code, contents(folder)) == (2, before)
    assert "there is no terminal to ask at; give --yes, or --dry-run" in ended.err.replace("│", "").replace(
        "\n", " "
    )


def test_what_somebody_has_changed_is_kept(tmp_path: Path) -> None:
    folder = copy_of("single", tmp_path)
    assert init(folder, "--yes", "--no-check").code == 0
    config = folder / "skene_config.py"
    config.write_text(config.read_text().replace("FREE_CALLS = 100", "FREE_CALLS = 7"))
    (folder / "templates/upgrade_prompt.txt").write_text(
        '{% set subject = "Ours" %}\nOurs: {{ upgrade_url }}\n'
    )
    before = contents(folder)
    ended = init(folder, "--yes")
    assert ended.code == 0, ended.out + ended.err
    assert "kept: skene_config.py is there and differs" in ended.out
    assert "kept: templates/upgrade_prompt.txt is there and differs" in ended.out
    assert contents(folder) == before
    assert own_tests(folder).code == 0  # and its first test follows the limit


def test_an_example_of_variables_gets_what_it_lacks(tmp_path: Path) -> None:
    folder = copy_of("single", tmp_path)
    (folder / ".env.example").write_text("# ours\nSTRIPE_API_KEY=sk_test_…\nOTHER=1")
    assert init(folder, "--yes", "--no-check").code == 0
    text = (folder / ".env.example").read_text()
    assert text.startswith("# ours\nSTRIPE_API_KEY=sk_test_…\nOTHER=1\n\n# ")
    assert text.count("STRIPE_API_KEY=") == 1
    assert "STRIPE_WEBHOOK_SECRET=" in text


def test_prices_in_the_environment_become_plans_and_no_key_is_shown(tmp_path: Path) -> None:
    folder = copy_of("single", tmp_path)
    (folder / ".env").write_text("STRIPE_SECRET_KEY=sk_live_abcdefghijkl\nPRICE=price_1Team\n")
    ended = init(folder, "--yes")
    assert ended.code == 0, ended.out + ended.err
    assert "STRIPE_SECRET_KEY (live)" in ended.out
    assert "sk_live_" not in ended.out + ended.err
    assert '"price_1Team": "paid"' in (folder / "skene_config.py").read_text()
    assert own_tests(folder).code == 0


def test_half_a_pair_is_told_before_the_app_refuses_to_start(tmp_path: Path) -> None:
    folder = copy_of("single", tmp_path)
    ended = init(folder, "--yes", STRIPE_API_KEY="sk_test_abcdefghijkl")
    assert "STRIPE_API_KEY is set and STRIPE_WEBHOOK_SECRET is not: `skene login stripe`" in ended.out
    assert ended.code == 1
    assert "skene check: " in ended.err
