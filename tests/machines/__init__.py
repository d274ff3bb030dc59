"""Many machines on one PostgreSQL: killed, frozen and thawed, and what is left of their work."""
