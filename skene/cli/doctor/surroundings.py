"""What is around an app: the environment it is installed in, `.env`, how many processes serve it."""

import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from skene.cli.doctor.findings import Finding, Severity

__all__ = ["distributions", "env_file", "key_modes", "workers_of"]

_KEY = re.compile(r"(?:sk|rk|pk)_(live|test)_\w+")
_SECRET = re.compile(r"(?:sk|rk)_(?:live|test)_|whsec_|re_\w{8}|://[^/\s:]+:[^/\s@]+@")


def distributions() -> Iterator[Finding]:
    """Another distribution with the same import name: the last one installed overwrites the other's files."""
    try:
        other = distribution("skene").version
    except PackageNotFoundError:
        yield Finding("distribution", Severity.OK, "no other distribution is called skene")
    else:
        yield Finding(
            "distribution",
            Severity.ERROR,
            f"the distribution skene {other} is installed beside skene-sdk; both have a package called skene",
            "pip uninstall skene, then pip install --force-reinstall skene-sdk",
        )


def env_file(folder: Path) -> Iterator[Finding]:
    """Who may read the keys in `.env`."""
    path = folder / ".env"
    if not path.exists():
        yield Finding("env file", Severity.OK, "there is no .env")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    has_secret = bool(_SECRET.search(path.read_text("utf-8", "replace")))
    if has_secret and mode & 0o077:
        yield Finding(
            "env file",
            Severity.WARNING,
            f".env holds secrets, and others on this machine may read it (mode {mode:04o})",
            "chmod 600 .env",
        )
    else:
        yield Finding("env file", Severity.OK, f".env has mode {mode:04o}")


def key_modes(env: Mapping[str, str]) -> Iterator[Finding]:
    """Keys of Stripe's that are not all of one mode; secrets that have been mixed up."""
    modes: dict[str, list[str]] = {}
    for name, value in sorted(env.items()):
        if found := _KEY.fullmatch(value.strip()):
            modes.setdefault(found[1], []).append(name)
    if len(modes) > 1:
        seen = "; ".join(f"{mode}: {', '.join(names)}" for mode, names in sorted(modes.items()))
        yield Finding(
            "key modes",
            Severity.ERROR,
            f"keys of Stripe's live and test mode are mixed ({seen})",
            "take all of them from one mode: skene login stripe",
        )
    else:
        mode = next(iter(modes), None)
        yield Finding(
            "key modes",
            Severity.OK,
            f"all of Stripe's keys are {mode} ones" if mode else "no key of Stripe's",
        )
    secret = env.get("STRIPE_WEBHOOK_SECRET", "").strip()
    if secret and secret == env.get("RESEND_WEBHOOK_SECRET", "").strip():
        yield Finding(
            "webhook secret",
            Severity.ERROR,
            "STRIPE_WEBHOOK_SECRET and RESEND_WEBHOOK_SECRET are the same; each endpoint has its own",
            "skene login stripe; skene login resend",
        )


def workers_of(env: Mapping[str, str]) -> int | None:
    """How many processes serve the app, as uvicorn, gunicorn and platforms are told."""
    for name in ("WEB_CONCURRENCY", "UVICORN_WORKERS"):
        if env.get(name, "").strip().isdecimal():
            return int(env[name])
    try:
        words = shlex.split(env.get("GUNICORN_CMD_ARGS", ""))
    except ValueError:
        return None
    found = re.search(r"(?:^|\s)(?:-w|--workers)[\s=]*(\d+)", " ".join(words))
    return int(found[1]) if found else None
