"""Where and with what a run was made, told beside its numbers."""

import gc
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

__all__ = ["circumstances", "settle", "version"]

ROOT = Path(__file__).resolve().parents[3]


def settle() -> None:
    """Do what an application does when it has started: leave what is there out of garbage collections."""
    gc.collect()
    gc.freeze()


def circumstances(packages: Sequence[str], **more: str) -> dict[str, str]:
    """When, which machine, which versions; `more` is added to them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}"
        f" {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
    return {**found, **more}


def version(package: str) -> str:
    """The version of a package that is installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
