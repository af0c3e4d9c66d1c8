"""The command `skene`."""

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments name; the console script of the package."""
    from skene.cli.app import run

    run()
