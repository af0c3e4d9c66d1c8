"""Versions of the schema, oldest first. Each is a script in `versions/` with its SQL beside it.

A version, once released, is never changed. A new one only adds: tables, columns with defaults, functions
under new names (`…_v2`), so that processes of the previous release go on working while the new one is rolled
out. In a script, and nowhere else, `op` is about the database that is being migrated.
"""

from collections.abc import Iterator
from pathlib import Path

from alembic.runtime.migration import MigrationContext

__all__ = ["statements"]

_VERSIONS = Path(__file__).with_name("versions")


def statements(context: MigrationContext, name: str) -> Iterator[str]:
    """The statements of `versions/<name>.<dialect>.sql`, for the schema that is migrated.

    In the files a statement ends with a semicolon at the end of a line; a function's body, between
    `$function$` and `$function$`, is part of its statement.
    """
    schema = context.opts.get("version_table_schema")
    quote = context.dialect.identifier_preparer.quote_identifier
    prefix = f"{quote(schema)}." if schema else ""
    text = (_VERSIONS / f"{name}.{context.dialect.name}.sql").read_text(encoding="utf-8")
    statement = ""
    for line in text.replace("{schema}", prefix).splitlines():
        if not statement and (not line.strip() or line.startswith("--")):
            continue
        statement += line + "\n"
        code = line.split("--")[0].rstrip()
        if code.endswith(";") and statement.count("$function$") % 2 == 0:
            yield statement.rstrip().removesuffix(";")
            statement = ""
