"""Integers of 64 bits where the database has others: sizes, times and ids that are never used again outgrow 32."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name == "sqlite":
        return
    for table in sa.inspect(bind).get_table_names():
        for column in sa.inspect(bind).get_columns(table):
            if isinstance(column["type"], sa.Integer) and not isinstance(column["type"], sa.BigInteger):
                op.alter_column(table, column["name"], type_=sa.BigInteger())
    for sequence in sa.inspect(bind).get_sequence_names():
        op.execute(f'ALTER SEQUENCE "{sequence}" AS bigint')
