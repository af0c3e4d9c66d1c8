"""`skene db`: the tables."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.loading import ConfigOption, LoadError, load_skene
from skene.cli.output import JsonOption, examples, print_json, say

if TYPE_CHECKING:
    from skene.ports.storage import Storage

__all__ = ["DatabaseOption", "commands", "storage_at"]

commands = typer.Typer(
    name="db", help="Create skene's tables and bring them up to date.", rich_markup_mode=None
)

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="postgresql://… or sqlite:///file.db. Without it, the storage of your configuration.",
    ),
]


@commands.callback(invoke_without_command=True)
def database(context: typer.Context) -> None:
    """Create skene's tables and bring them up to date."""
    if context.invoked_subcommand is None:
        say(context.get_help())


@commands.command(
    epilog=examples(
        "skene db upgrade",
        "skene db upgrade --database postgresql://localhost/app",
        codes="the database cannot be reached, or may not be changed",
    )
)
@guarded
def upgrade(
    database: DatabaseOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Apply the migrations that are missing.

    Safe to repeat, and to run from several machines at once.
    """
    storage = _storage(database, config)
    applied, version = anyio.run(_upgrade, storage)
    if as_json:
        print_json({"storage": repr(storage), "applied": applied, "version": version})
    elif applied:
        say(f"{storage!r}: applied {', '.join(applied)}; now at version {version}")
    else:
        say(f"{storage!r}: nothing to do, at version {version} already")


@commands.command(
    epilog=examples(
        "skene db current",
        "skene db current --json",
        codes="the tables are missing or outdated, or the database cannot be reached",
    )
)
@guarded
def current(
    database: DatabaseOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show which version the tables are at.

    And which one this release needs. Changes nothing.
    """
    from skene.adapters.sql.migrate import HEAD, KNOWN

    storage = _storage(database, config)
    version = anyio.run(_version, storage)
    ready = version is not None and version not in KNOWN[:-1]
    if as_json:
        print_json({"storage": repr(storage), "version": version, "needed": HEAD, "ready": ready})
    elif version is None:
        say(f"{storage!r}: no tables of skene yet; run `skene db upgrade`")
    elif ready:
        say(f"{storage!r}: at version {version}, as this release needs")
    else:
        say(f"{storage!r}: at version {version}, this release needs {HEAD}; run `skene db upgrade`")
    if not ready:
        raise typer.Exit(1)


def storage_at(url: str) -> "Storage":
    """The storage at an address.

    Raises:
        CommandError: the address cannot be understood.
    """
    from skene.errors import ConfigurationError
    from skene.wiring import storage_from

    try:
        return storage_from(url)
    except ConfigurationError as error:
        said = "; ".join(str(fault).partition(": ")[2] for fault in error.faults) or str(error)
        raise CommandError(f"--database: {said}") from error
    except Exception as error:  # what the driver thinks of the address, in whatever class it likes
        raise CommandError(f"--database: the address cannot be read: {error}") from error


def _storage(url: str | None, config: str | None) -> "Storage":
    if url is not None:
        return storage_at(url)
    try:
        return load_skene(config).storage
    except LoadError as error:
        if error.missing and config is None:
            raise CommandError(f"{error}; or give --database URL") from error
        raise


async def _upgrade(storage: "Storage") -> tuple[list[str], str | None]:
    try:
        applied: list[str] = await _verb(storage, "migrate")()
        return applied, await _verb(storage, "schema_version")()
    finally:
        await storage.aclose()


async def _version(storage: "Storage") -> str | None:
    try:
        version: str | None = await _verb(storage, "schema_version")()
        return version
    finally:
        await storage.aclose()


def _verb(storage: "Storage", name: str) -> Any:
    """Migrations are no part of the port: a storage need not have tables at all."""
    verb = getattr(storage, name, None)
    if verb is None:
        raise CommandError(f"{storage!r} has no tables that could be migrated")
    return partial(verb)
