"""The base that a tuned model is served over, where another was chosen than it was trained over."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tuned_models", sa.Column("over", sa.String(), nullable=True))
    op.add_column("tuned_models", sa.Column("forced", sa.Boolean(), nullable=False, server_default=sa.false()))
