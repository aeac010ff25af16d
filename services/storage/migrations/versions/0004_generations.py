"""Generations of a store's index: what is searchable belongs to a document and a generation; checksums of vectors.

All that is searchable becomes its store's first generation, live, and is neither cut nor embedded again.
"""

import zlib

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# What a document was cut by where nothing was asked for, until now.
CHUNKING = {"max_tokens": 192, "overlap_tokens": 0, "whole_tokens": 800}
ROWS_AT_ONCE = 2_000


def upgrade() -> None:
    _make_generations()
    _make_indexed_documents()
    _move_chunks()
    _move_vectors()
    op.drop_column("vector_stores", "embedder")
    op.drop_column("vector_stores", "revision")
    op.add_column("document_texts", sa.Column("headings", sa.JSON(), nullable=True))


def _make_generations() -> None:
    op.create_table(
        "generations",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("store_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("embedder", sa.String(), nullable=False),
        sa.Column("chunking", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "state IN ('building', 'ready', 'live', 'retired', 'failed', 'removed')", name="state_known"
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["store_id"], ["vector_stores.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_generations_project_id", "generations", ["project_id"], unique=False)
    op.create_index("ix_generations_store_id", "generations", ["store_id"], unique=False)
    op.create_index("ix_generations_embedder", "generations", ["embedder"], unique=False)
    for name, states in (("live", "state = 'live'"), ("building", "state IN ('building', 'ready')")):
        op.create_index(
            f"uq_generations_{name}",
            "generations",
            ["store_id"],
            unique=True,
            sqlite_where=sa.text(states),
            postgresql_where=sa.text(states),
        )
    op.execute(
        sa.text(
            "INSERT INTO generations (project_id, store_id, state, embedder, chunking, revision, created_at, turn) "
            "SELECT project_id, id, 'live', embedder, :chunking, revision, created_at, 1 "
            "FROM vector_stores ORDER BY seq"
        ).bindparams(sa.bindparam("chunking", CHUNKING, type_=sa.JSON()))
    )


def _make_indexed_documents() -> None:
    op.create_table(
        "indexed_documents",
        sa.Column("document_seq", sa.Integer(), nullable=False),
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("usage_bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["document_seq"], ["documents.seq"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("document_seq", "generation_id"),
    )
    op.create_index("ix_indexed_documents_generation_id", "indexed_documents", ["generation_id"], unique=False)
    op.execute(
        "INSERT INTO indexed_documents (document_seq, generation_id, project_id, usage_bytes) "
        "SELECT documents.seq, generations.id, documents.project_id, documents.usage_bytes "
        "FROM documents JOIN generations ON generations.store_id = documents.store_id "
        "JOIN document_texts ON document_texts.document_seq = documents.seq"
    )


def _move_chunks() -> None:
    """Make the tables of chunks and windows anew. Windows go first: with a chunk its windows would go."""
    op.create_table(
        "new_chunks",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("document_seq", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=True),
        sa.Column("heading_path", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_seq", "generation_id"],
            ["indexed_documents.document_seq", "indexed_documents.generation_id"],
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.execute(
        "INSERT INTO new_chunks (id, project_id, generation_id, document_seq, ordinal, text, start, "
        '"end", tokens, page, heading_path) '
        "SELECT chunks.id, chunks.project_id, generations.id, document_seq, ordinal, text, start, "
        '"end", tokens, page, heading_path '
        "FROM chunks JOIN generations ON generations.store_id = chunks.store_id ORDER BY chunks.id"
    )
    op.create_table(
        "new_windows",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("vector_key", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["new_chunks.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("chunk_id", "ordinal"),
    )
    op.execute('INSERT INTO new_windows SELECT chunk_id, ordinal, project_id, start, "end", vector_key FROM windows')
    _keep_ids_unused()
    op.drop_table("windows")
    op.drop_table("chunks")
    op.rename_table("new_chunks", "chunks")
    op.rename_table("new_windows", "windows")
    op.create_index("ix_chunks_generation", "chunks", ["generation_id", "id"], unique=False)
    op.create_index("ix_chunks_document", "chunks", ["document_seq", "generation_id"], unique=False)
    op.create_index("ix_windows_vector_key", "windows", ["vector_key"], unique=False)


def _keep_ids_unused() -> None:
    """Go on counting where the old table was: an index on the disk may still hold a chunk that has gone."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DELETE FROM sqlite_sequence WHERE name = 'new_chunks'")
        op.execute(
            "INSERT INTO sqlite_sequence (name, seq) "
            "SELECT 'new_chunks', seq FROM sqlite_sequence WHERE name = 'chunks'"
        )


def _move_vectors() -> None:
    op.create_table(
        "new_vectors",
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("checksum", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project_id", "key"),
    )
    bind = op.get_bind()
    found = bind.execute(sa.text("SELECT project_id, key, vector FROM vectors"))
    while rows := found.fetchmany(ROWS_AT_ONCE):
        bind.execute(
            sa.text("INSERT INTO new_vectors VALUES (:project_id, :key, :vector, :checksum)"),
            [dict(row._mapping, checksum=zlib.crc32(row.vector)) for row in rows],
        )
    op.drop_table("vectors")
    op.rename_table("new_vectors", "vectors")
