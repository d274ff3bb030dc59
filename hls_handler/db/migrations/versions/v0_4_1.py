"""Add the texts of repositories and their full-text index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.4.1"
down_revision = "0.4.0"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Rows of `texts` are inserted and deleted, and never changed.
SQLITE_INDEX = """
CREATE VIRTUAL TABLE texts_words
    USING fts5(scope, words, content='texts', content_rowid='id', tokenize='unicode61');

CREATE TRIGGER texts_inserted AFTER INSERT ON texts BEGIN
    INSERT INTO texts_words(rowid, scope, words) VALUES (new.id, new.scope, new.words);
END;

CREATE TRIGGER texts_deleted AFTER DELETE ON texts BEGIN
    INSERT INTO texts_words(texts_words, rowid, scope, words) VALUES ('delete', old.id, old.scope, old.words);
END;
"""


def upgrade() -> None:
    op.create_table(
        "texts",
        sa.Column("id", Id, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("end_line", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("version", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("uq_texts_place", "texts", ["scope", "name", "line"], unique=True)
    op.create_table(
        "document_indexes",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("commit_sha", sa.Text()),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id"),
    )
    op.create_index(
        "ix_deliveries_push",
        "deliveries",
        ["repository", "received_at"],
        sqlite_where=sa.text("event = 'push'"),
        postgresql_where=sa.text("event = 'push'"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for statement in SQLITE_INDEX.split("\n\n"):
            op.execute(statement)
    else:
        op.execute("CREATE INDEX ix_texts_words ON texts USING gin (to_tsvector('simple', scope || ' ' || words))")
