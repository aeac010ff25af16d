"""The knowledge graph: whether a generation has one, what its chunks name, and what they say of it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("generations", sa.Column("graph", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "graph_entities",
        sa.Column("chunk_id", WIDE, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("generation_id", WIDE, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunks.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("chunk_id", "key"),
    )
    op.create_index("ix_graph_entities_key", "graph_entities", ["generation_id", "key"], unique=False)
    op.create_table(
        "graph_relations",
        sa.Column("chunk_id", WIDE, nullable=False),
        sa.Column("ordinal", WIDE, nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunks.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("chunk_id", "ordinal"),
    )
