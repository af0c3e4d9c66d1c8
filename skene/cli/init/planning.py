"""All that `skene init` would change in a project, and changing it."""

from dataclasses import dataclass, replace
from pathlib import Path

from skene.cli.failing import CommandError
from skene.cli.init.editing import PLACEHOLDER, edit_app
from skene.cli.init.files import Change, change, check_writable, read_text, replace_file
from skene.cli.init.looking import Look
from skene.cli.init.source import Source, is_test
from skene.cli.init.writing import Found, Place, env_example, render_config, render_test, template_files
from skene.cli.prompts import agents_md

__all__ = ["Plan", "make_plan", "write"]

_DEFAULT = "skene_config"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        found: what it follows from.
        root: the folder that imports begin in; empty for the project's own.
        config: the configuration, as `module:name`.
        changes: every file, those that stay as they are included.
        notes: what somebody should know.
    """

    found: Found
    root: str
    config: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def shown_app(self) -> str:
        """The app, as `module:name`."""
        return f"{self.found.module}:{self.found.app.factory or self.found.app.name}"

    @property
    def to_write(self) -> list[Change]:
        """What is new or gets lines added."""
        return [one for one in self.changes if one.kind in ("create", "edit")]

    @property
    def differing(self) -> list[Change]:
        """What is there and differs: written only if somebody says so."""
        return [one for one in self.changes if one.kind == "overwrite"]

    def overwriting(self, path: str) -> "Plan":
        """The same, with one of those written."""
        changes = (replace(one, kind="edit") if one.path == path else one for one in self.changes)
        return replace(self, changes=tuple(changes))

    def next_steps(self) -> list[str]:
        """What is left to do, as commands and sentences."""
        found = self.found
        config = "" if self.config == f"{_DEFAULT}:skene" else f" --config {self.config}"
        path = f"PYTHONPATH={self.root} " if self.root else ""
        steps: list[str] = []
        if found.caller is None:
            steps.append(f"let {PLACEHOLDER} in {found.app.path} return the id of whoever is signed in")
        tests = next((one.path for one in self.changes if one.path.endswith("test_skene.py")), None)
        if tests:
            steps.append(f"{path}python -m pytest {tests}")
        app = f" --app {':'.join(found.served)}" if found.served else ""
        steps.append(f"{path}skene check{config}{app}")
        if found.pattern == "reverse-trial":
            steps.append("call `await start_trial(user_id)` where somebody signs up")
        if found.pattern == "activation":
            steps.append('call `await skene.emit("activated", user_id)` at the first key action')
        steps.append("skene login stripe; skene login resend")
        steps.append(f"{path}skene doctor{config}{app}")
        return steps


def make_plan(folder: Path, seen: Look, *, agents: bool) -> Plan:
    """Work out every file. Writes nothing.

    Args:
        folder: the project.
        seen: what was found.
        agents: AGENTS.md, too.

    Raises:
        CommandError: a file cannot be read or changed.
    """
    found, source = seen.found, seen.source
    place, module = _place(source, found), source.at(found.app.path)
    config = change(folder, place.path, render_config(found))
    if seen.gated_in is not None and config.kind == "create":
        raise CommandError(
            f"{seen.gated_in} has a gate already, and its configuration is not called {_DEFAULT}.py: "
            "nothing to do. `skene check --config module:name --app module:app` shows what it gates"
        )
    changes = [config]
    changes += [
        change(folder, f"templates/{name}", text)
        for name, text in sorted(template_files(found.pattern).items())
    ]
    subject, subject_module = _subject(found)
    notes = list(seen.notes)
    if seen.gated_in is not None:
        notes.append(f"{seen.gated_in} has a gate already; it is left as it is")
    else:
        there = read_text(folder / found.app.path)
        edit = edit_app(there.text, module, found.app, found.caller, place.module)
        changes.append(change(folder, found.app.path, edit.text, edit=True))
    # A test of a configuration that somebody has changed would be about another one.
    if config.kind != "overwrite":
        text = render_test(found, place, subject, subject_module)
        changes.append(change(folder, _test_path(folder), text))
    example = folder / ".env.example"
    there_env = read_text(example).text if example.exists() else ""
    changes.append(change(folder, ".env.example", env_example(there_env, f"{place.module}:skene"), edit=True))
    if agents:
        changes.append(_agents(folder, found, place))
    return Plan(found, source.root, f"{place.module}:skene", tuple(changes), tuple(notes))


def _place(source: Source, found: Found) -> Place:
    """Where the configuration is, or should be: where commands look, or in the package that is installed."""
    for one in source.modules.values():
        if one.name.rpartition(".")[2] == _DEFAULT and not is_test(one.path):
            return Place(one.path, one.name)
    if not source.root:
        return Place(f"{_DEFAULT}.py", _DEFAULT)
    package = found.module.partition(".")[0] if "." in found.module else ""
    folder = "/".join(part for part in (source.root, package) if part)
    return Place(f"{folder}/{_DEFAULT}.py", f"{package}.{_DEFAULT}" if package else _DEFAULT)


def _subject(found: Found) -> tuple[str, str]:
    """What a test replaces to sign in."""
    if found.caller is None:
        return PLACEHOLDER, found.module
    return found.caller.name, found.caller.module


def _test_path(folder: Path) -> str:
    for name in ("tests", "test"):
        if (folder / name).is_dir():
            return f"{name}/test_skene.py"
    return "test_skene.py"


def _agents(folder: Path, found: Found, place: Place) -> Change:
    file = folder / "AGENTS.md"
    there = read_text(file).text if file.exists() else ""
    app = ":".join(found.served) if found.served else "app:app"
    return change(folder, "AGENTS.md", agents_md(there, config=f"{place.module}:skene", app=app), edit=True)


def write(folder: Path, plan: Plan) -> list[str]:
    """Write what is new or gets lines added.

    Returns:
        The paths.

    Raises:
        CommandError: a file cannot be written; found out, where possible, before the first one is.
    """
    check_writable(folder, plan.to_write)
    for one in plan.to_write:
        replace_file(folder / one.path, one.content)
    return [one.path for one in plan.to_write]
