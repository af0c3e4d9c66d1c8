"""`skene diff`: what differs between two configurations, in words."""

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import CommandError, DebugOption, guarding, scrub
from skene.cli.loading import load_object
from skene.cli.output import JsonOption, examples, print_json, say

if TYPE_CHECKING:
    from skene.definitions import Loop
    from skene.engine.differing import Difference

__all__ = ["commands"]

commands = typer.Typer()

DIFFERENT, FAILED = 1, 2
_LONGEST = 200
_GIT_SECONDS = 30
_FORMS = "a .json file, REVISION:path.json of git, or module:name of a Skene or a loop"


@commands.command(
    epilog=examples(
        "skene diff old.json new.json",
        "skene diff main:loops/freemium.json loops/freemium.json",
        "skene diff old_config:skene skene_config:skene --json",
        codes="they differ",
        wrong="or it did not work; standard error says why",
    )
)
@guarding(FAILED)
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help=f"{_FORMS[0].upper()}{_FORMS[1:]}.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The same.")],
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell what differs between two configurations.

    Only loops are compared. No database is asked, and nothing is started.
    """
    from skene.engine.differing import differences

    found = differences(_load(old, "OLD"), _load(new, "NEW"))
    if as_json:
        print_json({"same": not found, "differences": [_as_json(one) for one in found]})
    else:
        for one in found:
            say(scrub(_words(one)))
    if found:
        raise typer.Exit(DIFFERENT)


# -- what is compared --------------------------------------------------------------------------------------


def _load(text: str, which: str) -> "tuple[Loop, ...]":
    from skene.definitions import DefinitionError, Loop, load_loop
    from skene.runtime.skene import Runtime

    if text.endswith(".json"):
        try:
            revision, colon, path = text.partition(":")
            if colon and not Path(text).exists():
                return (load_loop(_git(revision, path, which)),)
            return (load_loop(Path(text)),)
        except DefinitionError as error:
            raise DefinitionError(error.faults, f"{which}, {text},") from None
    if not text.strip():
        raise CommandError(f"{which}: got {text!r}; give {_FORMS}")
    place, found = load_object(text, which, "skene")
    if isinstance(found, Runtime):
        return found.loops
    if isinstance(found, Loop):
        return (found,)
    raise CommandError(f"{which}: {place} is a {type(found).__name__}; give {_FORMS}")


def _git(revision: str, path: str, which: str) -> str:
    """A file as a revision has it; its path counts from this folder."""
    if not revision or revision.startswith("-"):
        raise CommandError(f"{which}: got {revision!r} for a revision; give one of git, such as main:{path}")
    name = path if path.startswith(("./", "../")) else f"./{path}"
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and no revision that git would take for an option
            ["git", "show", f"{revision}:{name}"],  # noqa: S607 - the git that is on the path is meant
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_SECONDS,
        )
    except FileNotFoundError:
        raise CommandError(f"{which}: git is not installed here; give {_FORMS}") from None
    except (subprocess.TimeoutExpired, ValueError, UnicodeError) as error:
        raise CommandError(
            f"{which}: git cannot show {path} at {revision}: {type(error).__name__}"
        ) from error
    if done.returncode:
        said = next(iter(done.stderr.strip().splitlines()), "it says nothing")
        raise CommandError(f"{which}: there is no file {path}, and git has none at {revision}: {said}")
    return done.stdout


# -- how it is told ----------------------------------------------------------------------------------------


def _as_json(one: "Difference") -> dict[str, Any]:
    from skene.engine.differing import ABSENT

    sides = {name: getattr(one, name) for name in ("before", "after")}
    return {
        "loop": one.loop,
        "step": one.step,
        "path": list(one.path),
        **{name: None if value is ABSENT else value for name, value in sides.items()},
        "change": "added" if one.before is ABSENT else "removed" if one.after is ABSENT else "changed",
        "words": scrub(_words(one)),
    }


def _words(one: "Difference") -> str:
    from skene.definitions import UsageCondition
    from skene.engine.differing import ABSENT

    where = one.loop if one.step is None else f"{one.loop}, step {one.step}"
    if not one.path:
        kind = "loop" if one.step is None else "step"
        return f"{where}: a {kind} that is {'new' if one.before is ABSENT else 'gone'}"
    match one.path:
        case ("condition", "limit", plan) if isinstance(one.context, UsageCondition):
            return f"{where}: {plan}: {_side(one.before)} → {_side(one.after)} units {_period(one.context)}"
        case ("condition", "limit", plan, key):
            return f"{where}: {plan}, {key}: {_side(one.before)} → {_side(one.after)}"
        case ("enforce",):
            begins = "it begins to refuse and to write" if one.after else "it only watches from now on"
            return f"{where}: {begins} (enforce: {one.before} → {one.after})"
        case _:
            return f"{where}: {'.'.join(one.path)}: {_side(one.before)} → {_side(one.after)}"


def _period(usage: Any) -> str:
    from skene.cli.words import period_in_words
    from skene.engine.periods import period_text

    return period_in_words(period_text(usage.period))


def _side(value: object) -> str:
    from skene.engine.differing import ABSENT

    if value is ABSENT or value is None:
        return "nothing"
    if value == "Infinity":
        return "unlimited"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    text = value if isinstance(value, str) and value.isprintable() else json.dumps(value, ensure_ascii=False)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f'"{text}"' if isinstance(value, str) and " " in text else text
