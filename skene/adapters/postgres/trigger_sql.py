"""The SQL of a trigger on PostgreSQL.

An insert or delete runs once for a statement, however many rows it has; an update once for each row that
passes its condition. The function runs with the rights of whoever installed it, finds nothing by a search
path that a caller could set, and never lets the caller's own write fail.
"""

from skene.adapters.sql.triggers import (
    LONGEST_COPY,
    MARK,
    PLACE,
    SECRET,
    Written,
    identifier,
    table_parts,
    trigger_name,
    written,
)
from skene.engine.rowtrigger import RowTrigger
from skene.engine.subject import MAX_SUBJECT_BYTES

__all__ = ["condition", "literal", "quoted", "write"]

_FUNCTION = """
CREATE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS {tag}
DECLARE
    copied text[];
BEGIN
    copied := {copied};
    INSERT INTO {home}skene_firings
           (key, loop, step, subject, data, state, occurred_at, due_at, claim, failures)
    SELECT 'database:' || gen_random_uuid(), {loop}, {step},
           CASE WHEN octet_length(fired.{subject}::text) <= {shortest} THEN fired.{subject}::text
                ELSE 'sha256:' || encode(sha256(convert_to(fired.{subject}::text, 'UTF8')), 'hex') END,
           (SELECT coalesce(json_object_agg(pair.key, pair.value), '{{}}')
              FROM json_each(to_json(fired)) AS pair
             WHERE pair.key = ANY (copied){short}),
           'pending', clock_timestamp(), clock_timestamp(), 0, 0
      FROM {rows} AS fired
     WHERE fired.{subject}::text <> ''{where};
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'skene: % on % has set off nothing: % (%)', TG_NAME, TG_TABLE_NAME, SQLERRM, SQLSTATE;
    RETURN NULL;
END
{tag}
""".strip()

_UNLESS_SECRET = """
ARRAY(  -- all columns but those that look secret
        SELECT col.attname::text
          FROM (SELECT attname, '_' || lower(regexp_replace(
                           attname, '([a-z0-9])([A-Z])', E'\\\\1_\\\\2', 'g')) || '_' AS words
                  FROM pg_attribute
                 WHERE attrelid = TG_RELID AND attnum > 0 AND NOT attisdropped
                   AND atttypid <> 'bytea'::regtype) AS col
         WHERE {secret})
""".strip()


def write(trigger: RowTrigger, home: str, *, each_row: bool = False) -> Written:
    """The statements of a trigger.

    Args:
        trigger: what it shall do.
        home: the schema of skene's own tables, quoted and with its dot.
        each_row: run for each row of an insert or delete, too. A table with partitions needs it: what goes
            into a partition directly is no statement on the table.
    """
    name = trigger_name(trigger)
    function = f"{home}{identifier(name)}"
    each_row = each_row or trigger.event == "update"
    return written(
        name,
        [
            _function(trigger, function, home, each_row=each_row),
            f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC",
            f"COMMENT ON FUNCTION {function}() IS '{MARK}{PLACE}'",
            _trigger(trigger, name, function, each_row=each_row),
        ],
    )


def _function(trigger: RowTrigger, function: str, home: str, *, each_row: bool) -> str:
    row = "OLD" if trigger.event == "delete" else "NEW"
    if trigger.capture is not None:
        copied = f"ARRAY[{', '.join(map(literal, trigger.capture))}]::text[]"
    else:
        secret = (f"col.words !~ {literal(pattern)}" for pattern in SECRET)
        copied = _UNLESS_SECRET.format(secret="\n           AND ".join(secret))
    where = "" if trigger.event == "update" else condition(trigger, "fired")
    fields = {
        "function": function,
        "home": home,
        "loop": literal(trigger.loop),
        "step": literal(trigger.step),
        "subject": identifier(trigger.subject),
        "shortest": str(MAX_SUBJECT_BYTES),
        "copied": copied,
        "short": "" if trigger.capture is not None else f" AND length(pair.value::text) <= {LONGEST_COPY}",
        "rows": f"(SELECT {row}.*)" if each_row else "skene_rows",
        "where": f"\n       AND {where}" if where else "",
    }
    tag, number = "$skene$", 0
    while any(tag in field for field in fields.values()):
        tag, number = f"$skene{number}$", number + 1
    return _FUNCTION.format(tag=tag, **fields)


def quoted(table: str) -> str:
    """A table's name as the user wrote it, every part in quotes."""
    return ".".join(identifier(part) for part in table_parts(table))


def _trigger(trigger: RowTrigger, name: str, function: str, *, each_row: bool) -> str:
    lines = [
        f"CREATE TRIGGER {identifier(name)}",
        f"AFTER {trigger.event.upper()} ON {quoted(trigger.table)}",
    ]
    if not each_row:
        rows = "OLD" if trigger.event == "delete" else "NEW"
        lines += [f"REFERENCING {rows} TABLE AS skene_rows", "FOR EACH STATEMENT"]
    else:
        lines += ["FOR EACH ROW", *([f"WHEN ({_became(trigger)})"] if trigger.event == "update" else [])]
    return "\n".join([*lines, f"EXECUTE FUNCTION {function}()"])


def _became(trigger: RowTrigger) -> str:
    """When an update counts: it changes a column that matters, and the row comes to be what is wanted."""
    # Compared as they are stored, which works for types that know no equality, such as json, and never fails.
    old, new = (
        f"ROW({', '.join(f'{row}.{identifier(name)}' for name in trigger.columns)})::record"
        if trigger.columns
        else f"{row}.*"
        for row in ("OLD", "NEW")
    )
    changed = f"{old} OPERATOR(pg_catalog.*<>) {new}"
    if not trigger.where:
        return changed
    return f"{changed}\n  AND ({condition(trigger, 'NEW')})\n  AND NOT ({condition(trigger, 'OLD')})"


def condition(trigger: RowTrigger, row: str) -> str:
    """That a row has all the values that are wanted. It is true or false, whatever is NULL."""
    return " AND ".join(
        f"{row}.{identifier(name)} IS NULL"
        if value is None
        else f"{row}.{identifier(name)} IS NOT DISTINCT FROM {literal(_as_text(value))}"
        for name, value in trigger.where
    )


def _as_text(value: str | int | bool) -> str:
    """A value in quotes becomes whatever type its column has."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def literal(text: str) -> str:
    """A text as SQL, whatever the server takes a backslash for."""
    quoted = text.replace("'", "''")
    return f"E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{quoted}'"
