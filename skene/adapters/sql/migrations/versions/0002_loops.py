"""Tables of the loops that triggers drive: firings, journeys, who must not be written to, the log."""

from alembic import op

from skene.adapters.sql.migrations import statements

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Only add: code of the release before goes on working."""
    for statement in statements(op.get_context(), "0002_loops"):
        op.get_bind().exec_driver_sql(statement)
