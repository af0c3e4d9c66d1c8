"""What billing says beyond a plan: features, billed use, other limits for one customer."""

from alembic import op

from skene.adapters.sql.migrations import statements

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Only add, in PostgreSQL functions too: code of the release before goes on working."""
    dialect = op.get_context().dialect.name
    names = ["0004_truth"] + (["0004_counting"] if dialect == "postgresql" else [])
    for name in names:
        for statement in statements(op.get_context(), name):
            op.get_bind().exec_driver_sql(statement)
