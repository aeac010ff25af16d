"""Vectors of the sentences of what is embedded, beside its own."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("vectors", sa.Column("sentences", sa.LargeBinary(), nullable=True))
