"""Tests of the reports about deliveries."""
