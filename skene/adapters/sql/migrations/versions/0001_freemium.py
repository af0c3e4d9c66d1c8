"""Tables and functions of the freemium loop."""

from alembic import op

from skene.adapters.sql.migrations import statements

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything; nothing exists before."""
    dialect = op.get_context().dialect.name
    names = ["0001_freemium"] + (["0001_counting"] if dialect == "postgresql" else [])
    for name in names:
        for statement in statements(op.get_context(), name):
            op.get_bind().exec_driver_sql(statement)
