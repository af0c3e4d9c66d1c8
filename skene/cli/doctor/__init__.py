"""`skene doctor`: everything that a running app depends on, looked at once."""

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from skene.cli.failing import DebugOption, guarded, scrub
from skene.cli.loading import ConfigOption, LoadError, load_skene
from skene.cli.output import JsonOption, counted, examples, print_json, say

if TYPE_CHECKING:
    from skene.cli.doctor.findings import Finding, Patient

__all__ = ["commands"]

commands = typer.Typer()

_MARKS = {"ok": "ok     ", "skipped": "skipped", "warning": "warning", "error": "ERROR  "}


@commands.command(
    epilog=examples(
        "skene doctor",
        "skene doctor --app app:app --workers 4",
        "skene doctor --json",
        codes="at least one finding is an error; warnings alone are 0",
    )
)
@guarded
def doctor(
    app: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="Your FastAPI app, to see what patterns cover.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="How many processes serve it; else as WEB_CONCURRENCY says."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Look at everything that a running app depends on.

    The database, its tables and clock, keys, prices, the sender, the public address, templates, routes.
    It writes nothing but what a start of your app would: the tables of a new SQLite file.
    Run it where the app runs, with the same environment.
    """
    findings = _examined(app, workers, config)
    bad = [one for one in findings if one.severity == "error"]
    if as_json:
        print_json({"ok": not bad, "findings": [_as_json(one) for one in findings]})
    else:
        for one in findings:
            say(f"{_MARKS[one.severity]}  {one.check}: {scrub(one.seen)}")
            if one.advice:
                say(f"         → {one.advice}")
        warnings = sum(one.severity == "warning" for one in findings)
        say(f"\n{counted(len(bad), 'error')}, {counted(warnings, 'warning')}")
    if bad:
        raise typer.Exit(1)


def _as_json(one: "Finding") -> dict[str, str | None]:
    seen = {"check": one.check, "severity": str(one.severity), "seen": scrub(one.seen)}
    return {**seen, "advice": one.advice or None}


def _examined(app: str | None, workers: int | None, config: str | None) -> "list[Finding]":
    """Everything that is found. A check that fails itself is a finding, and keeps no other from looking."""
    from skene.cli.doctor import surroundings
    from skene.cli.doctor.findings import Finding, Patient, Severity
    from skene.errors import ConfigurationError
    from skene.wiring import environment, written_environment

    try:
        env = environment()
    except ConfigurationError:  # of the keyring; whether the app can do without, loading it tells
        env = written_environment()
    findings = [
        *surroundings.distributions(),
        *surroundings.env_file(Path.cwd()),
        *surroundings.key_modes(env),
    ]
    try:
        skene = load_skene(config)
    except LoadError as error:
        seen = [str(fault) for fault in error.faults] or [str(error)]
        return [*findings, *(Finding("configuration", Severity.ERROR, one, "skene check") for one in seen)]
    count = workers if workers is not None else surroundings.workers_of(env)
    patient = Patient(skene, app, Path.cwd(), env, count, skene.clock.now())
    findings += _configuration(patient)
    findings += anyio.run(_looked_at, patient)
    return findings


def _configuration(patient: "Patient") -> "list[Finding]":
    """Loops, templates, and the routes that patterns cover."""
    from skene.cli.check import routes_of
    from skene.cli.doctor.findings import Finding, Severity
    from skene.errors import ConfigurationError

    faults = patient.skene.faults()
    templates = [one for one in faults if one.path.endswith(".template")]
    others = [one for one in faults if one not in templates]
    found = [
        Finding("templates", Severity.ERROR, str(one), "skene mail preview shows them") for one in templates
    ]
    found = found or [Finding("templates", Severity.OK, "every mail can be rendered")]
    found += [Finding("configuration", Severity.ERROR, str(one), "skene check") for one in others]
    if not others:
        found.append(
            Finding("configuration", Severity.OK, f"{counted(len(patient.skene.loops), 'loop')}, no fault")
        )
    if patient.app is None:
        return [
            *found,
            Finding("routes", Severity.SKIPPED, "no app was given", "skene doctor --app MODULE:NAME"),
        ]
    try:
        routes = routes_of(patient.skene, patient.app)
    except (LoadError, ConfigurationError) as error:
        seen = [str(fault) for fault in error.faults] or [str(error)]
        return found + [
            Finding("routes", Severity.ERROR, one, f"skene check --app {patient.app}") for one in seen
        ]
    gated = {one for covered in routes.values() for one in covered}
    return [*found, Finding("routes", Severity.OK, counted(len(gated), "gated route"))]


async def _looked_at(patient: "Patient") -> "list[Finding]":
    from skene.cli.doctor import back_ends, services
    from skene.cli.doctor.findings import Finding, Severity

    found: list[Finding] = [*back_ends.several_workers(patient)]
    checks: Iterable[Callable[[Patient], AsyncIterator[Finding]]] = (
        back_ends.database,
        services.billing,
        services.senders,
        services.endpoint,
    )
    try:
        for check in checks:
            try:
                found += [one async for one in check(patient)]
            except Exception as error:  # noqa: BLE001 - one that fails must not hide what the others see
                seen = f"the check itself failed: {type(error).__name__}: {error}"
                found.append(Finding(check.__name__, Severity.ERROR, seen, "skene doctor --debug"))
    finally:
        await patient.skene.aclose()
    return found
