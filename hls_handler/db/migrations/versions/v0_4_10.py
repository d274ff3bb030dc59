"""The tables from which 0.5.0 is an upgrade. A new database is created from `db/tables.py`."""

revision = "0.4.10"
down_revision = None


def upgrade() -> None:
    """Nothing creates these tables any more."""
