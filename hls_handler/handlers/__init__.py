"""Handlers: one class for each kind of event. A handler gathers facts and plans actions; it never
writes to GitHub.
"""
