"""Triage of the backlog: which open issues a run would process, its start, and its undo."""
