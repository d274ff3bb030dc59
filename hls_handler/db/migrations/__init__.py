"""The migrations of databases from 0.4.10 on."""
