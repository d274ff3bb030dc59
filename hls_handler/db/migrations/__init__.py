"""The migrations of databases."""
