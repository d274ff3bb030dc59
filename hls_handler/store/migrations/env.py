"""Alembic's way in: it migrates the connection that `migrate` hands over, inside that one's transaction."""

from alembic import context

from hls_handler.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
