"""Many calls decided in one statement."""

from alembic import op

from skene.adapters.sql.migrations import statements

revision = "0006"
down_revision = "0004"


def upgrade() -> None:
    """Only add functions; SQLite, which decides calls by itself, needs none."""
    if op.get_context().dialect.name == "postgresql":
        for statement in statements(op.get_context(), "0006_together"):
            op.get_bind().exec_driver_sql(statement)
