"""Tests of several processes that share one PostgreSQL: killed, stopped and continued."""
