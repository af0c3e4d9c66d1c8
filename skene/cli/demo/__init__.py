"""`skene demo`: the freemium loop, from the first call to a customer who paid, on this machine alone."""

from typing import Annotated

import typer

from skene.cli.database import storage_at
from skene.cli.failing import DebugOption, guarded
from skene.cli.output import examples

__all__ = ["commands"]

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "skene demo",
        "skene demo --keep --port 8000",
        "skene demo --database postgresql://localhost/app",
        codes="a step did not go as expected; standard error names it",
    )
)
@guarded
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running afterwards, to play with.")] = False,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Run on this database instead of a new SQLite file: postgresql://… Its tables are created; "
            "what the demo counts stays there.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the example app; 0 takes a free one.")] = 0,
    debug: DebugOption = False,
) -> None:
    """See the freemium loop work in this terminal, without keys.

    Starts the example app, a local Stripe and a local Resend on this machine, and drives them as a customer
    would: calls up to the limit, the refusal, the e-mail, its link, the payment, the next call. Everything
    that is shown is what they answered.
    """
    if database is not None:
        storage_at(database)  # an address that cannot be read is said before anything is started
    import anyio

    from skene.cli.demo.play import play

    anyio.run(play, database, port, keep)
