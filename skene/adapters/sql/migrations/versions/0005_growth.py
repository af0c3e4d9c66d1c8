"""Tables that stay quick and small for years: what pruning looks for is found, and rows change in place."""

from alembic import op

from skene.adapters.sql.migrations import statements

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Only indexes and settings: code of the release before goes on working."""
    for statement in statements(op.get_context(), "0005_growth"):
        op.get_bind().exec_driver_sql(statement)
