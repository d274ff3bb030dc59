"""Alembic's environment: migrates the connection of `migrate` inside its transaction."""

from alembic import context

from hls_handler.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
