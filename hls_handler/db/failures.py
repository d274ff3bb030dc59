"""Failures of a database in plain words, each with what to do."""

from __future__ import annotations

import re

from sqlalchemy import exc as sql

from hls_handler.errors import StoreUnavailable

NO_POOLER = (
    "name the PostgreSQL server itself in storage.url: a connection pooler drops the time limits"
    " that HLS sets"
)

_REMEDIES = (
    (
        "locked|lock timeout",
        "another program has locked it: stop that one, or wait until it is done",
    ),
    ("disk is full", "free disk space"),
    ("no space left|could not extend", "free disk space where PostgreSQL keeps its data"),
    (
        "too many clients|connection slots|too many connections",
        "raise PostgreSQL's max_connections, or let fewer programs connect",
    ),
    ("queuepool", "see whether the database is overloaded, or lower limits.concurrency"),
    ("deadlock", "nothing was changed: do it again"),
    (
        "starting up|recovery mode|shutting down|administrator command",
        "wait until it has started; its log says why",
    ),
    (
        "did not answer|timeout expired",
        "see whether the server hangs, or the network on the way to it",
    ),
    ("disk i/o", "check the disk: reading or writing fails"),
    ("readonly", "let the user that runs HLS write to the file and its folder"),
    (
        "unable to open",
        (
            "put the file back if it is gone, and let the user that runs HLS write to it and its"
            " folder"
        ),
    ),
    (
        "not a database",
        "the file is not an SQLite database: move it away, or name another file in storage.url",
    ),
    ("malformed", "the file is damaged: restore a copy of it"),
    ("password", "check the user and the password in storage.url"),
    (
        "permission|read-only",
        "name a server and a user in storage.url that may write to the database",
    ),
    ('role |database "', "create the user and the database that storage.url names, or name others"),
    ("startup parameter", NO_POOLER),
)
"""Pattern of an error's first line, in any case, and what to do."""

_STARTING = ("starting up", "in recovery mode", "not yet accepting connections")
"""Parts of the messages of a PostgreSQL server that is still starting; the error has no code."""


class NotReady(StoreUnavailable):
    """The database server is starting and will accept connections later."""


def is_starting(exc: Exception, driver_error: type[Exception]) -> bool:
    """Return True if the server will accept connections later."""
    cause = _find_cause(exc)
    is_known = any(words in str(cause) for words in _STARTING)
    return is_known and isinstance(cause, driver_error)


def describe_failure(exc: Exception, shown_url: str) -> str:
    cause = _find_cause(exc)
    first_line = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    problem = f"the database {shown_url} cannot be used: {first_line}"
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, first_line, re.IGNORECASE):
            return f"{problem}; {remedy}"
    if shown_url.startswith("sqlite:"):
        return f"{problem}; see whether it is intact"
    return f"{problem}; see whether PostgreSQL runs where storage.url says"


def _find_cause(exc: Exception) -> BaseException:
    if isinstance(exc, sql.DBAPIError) and exc.orig is not None:
        return exc.orig
    return exc
