"""Grants: units on top of what a plan admits."""

from alembic import op

from skene.adapters.sql.migrations import statements

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table, the columns and, in PostgreSQL, the functions that spend grants."""
    dialect = op.get_context().dialect.name
    names = ["0003_grants"] + (["0003_counting"] if dialect == "postgresql" else [])
    for name in names:
        for statement in statements(op.get_context(), name):
            op.get_bind().exec_driver_sql(statement)
