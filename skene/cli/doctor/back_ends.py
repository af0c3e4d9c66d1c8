"""The database: can it be reached, is it current, does its clock agree, will it do for several processes?"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from skene.cli.doctor.findings import Finding, Patient, Severity
from skene.errors import ConfigurationError, SchemaOutdated, StorageError

__all__ = ["database", "several_workers"]

_SKEW_NOTED = timedelta(seconds=5)
_SKEW_BREAKS = timedelta(minutes=5)
"""From here on webhooks are refused as too old, or as coming from the future."""


async def database(patient: Patient) -> AsyncIterator[Finding]:
    """Reach it, look at its version, its clock and what stands in front of it."""
    storage = patient.skene.storage
    try:
        await storage.start()
    except SchemaOutdated as error:
        yield Finding("database", Severity.OK, f"{storage!r} can be reached")
        yield Finding("migrations", Severity.ERROR, str(error), "skene db upgrade")
    except ConfigurationError as error:
        yield Finding("pooler", Severity.ERROR, str(error), "see docs/how-to/several-workers.md#pgbouncer")
        return
    except StorageError as error:
        advice = "start the database, or correct DATABASE_URL (host, port, name, user)"
        yield Finding("database", Severity.ERROR, f"{storage!r}: {error}", advice)
        return
    else:
        yield Finding("database", Severity.OK, f"{storage!r} can be reached")
        version: Any = getattr(storage, "schema_version", None)
        seen = "no tables to migrate" if version is None else f"at version {await version()}"
        yield Finding("migrations", Severity.OK, seen)
    async for one in _server(patient):
        yield one


async def _server(patient: Patient) -> AsyncIterator[Finding]:
    look: Any = getattr(patient.skene.storage, "look_at_server", None)
    if look is None:
        yield Finding("clock", Severity.OK, "the database has this machine's clock")
        return
    try:
        before = patient.skene.clock.now()
        facts = await look()
        after = patient.skene.clock.now()
    except StorageError as error:
        yield Finding("clock", Severity.SKIPPED, f"the server could not be asked: {error}")
        return
    yield _skew(before, facts.now, after)
    pooled = "a pooler in transaction mode works" if facts.pooled else "no pooler"
    yield Finding("pooler", Severity.OK, f"PostgreSQL {facts.version}, {pooled}")


def _skew(before: Any, theirs: Any, after: Any) -> Finding:
    """The clocks' difference, without the time that asking took."""
    skew = max(before - theirs, theirs - after, timedelta(0))
    seen = f"this machine's clock and the database's are {skew.total_seconds():.1f} s apart"
    advice = "synchronise this machine's clock (NTP)"
    if skew >= _SKEW_BREAKS:
        return Finding("clock", Severity.ERROR, f"{seen}; webhooks are refused as too old or too new", advice)
    if skew > _SKEW_NOTED:
        return Finding("clock", Severity.WARNING, seen, advice)
    return Finding("clock", Severity.OK, seen)


def several_workers(patient: Patient) -> list[Finding]:
    """What does not hold for several processes."""
    from skene.adapters.memory import MemoryStorage

    skene, several = patient.skene, (patient.workers or 1) > 1
    found: list[Finding] = []
    if isinstance(skene.storage, MemoryStorage):
        seen = "MemoryStorage forgets at every restart"
        if several:
            seen = f"MemoryStorage in {patient.workers} processes: each counts for itself, limits multiply"
        severity = Severity.ERROR if several else Severity.WARNING
        found.append(
            Finding("workers", severity, seen, "set DATABASE_URL, or use SqliteStorage or PostgresStorage")
        )
    if several and not patient.env.get("SKENE_SECRET") and skene.billing.link_key is None:
        seen = f"{patient.workers} processes, and each signs links with a secret of its own"
        found.append(
            Finding(
                "workers", Severity.ERROR, seen, "set SKENE_SECRET to the same long random text everywhere"
            )
        )
    known = "one process" if patient.workers is None else f"{patient.workers} processes"
    return found or [Finding("workers", Severity.OK, f"{skene.storage!r} holds for {known}")]
