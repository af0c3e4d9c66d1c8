"""What billing says beyond a plan: features, billed use, other limits for one customer."""

from alembic import op

from skene.adapters.sql.migrations import statements

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Only add: code of the release before goes on working."""
    for statement in statements(op.get_context(), "0004_truth"):
        op.get_bind().exec_driver_sql(statement)
