"""What a person waits for leaves before marketing."""

from alembic import op

from skene.adapters.sql.migrations import statements

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the index that finds it."""
    for statement in statements(op.get_context(), "0004_first"):
        op.get_bind().exec_driver_sql(statement)
