"""The database: engine, transactions, tables and migrations, on SQLite or PostgreSQL."""
