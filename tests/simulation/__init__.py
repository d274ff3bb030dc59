"""Deterministic simulation of several machines in virtual time."""
