"""The tables of the first release. A new database is created from `db/tables.py`."""

revision = "1.0.0"
down_revision = None


def upgrade() -> None:
    """There is nothing to migrate from."""
