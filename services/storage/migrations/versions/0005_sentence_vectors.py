"""Vectors of the sentences of what is embedded, beside its own; generations made before are searched without."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("vectors", sa.Column("sentences", sa.LargeBinary(), nullable=True))
    op.add_column("generations", sa.Column("sentences", sa.Boolean(), nullable=False, server_default=sa.false()))
