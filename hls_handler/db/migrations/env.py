"""Alembic's environment: runs the migrations on the connection and in the transaction that
`migrate` opened.
"""

from alembic import context

from hls_handler.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
