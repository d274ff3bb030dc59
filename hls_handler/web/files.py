"""The files that this process may have open: a connection is one, and at the last one nobody is let in any more."""

from __future__ import annotations

import resource

FILES_OF_OUR_OWN = 64
FILES_OF_A_WORKER = 8
"""For the database, GitHub and Claude, prompts, and connections that were closed a moment ago."""

FEWEST_CONNECTIONS = 16


def needed(connections: int, workers: int) -> int:
    """How many files so many connections and workers may come to have open."""
    return connections + FILES_OF_OUR_OWN + FILES_OF_A_WORKER * workers


def connections_within(files: int, wanted: int, workers: int) -> int:
    """Of the connections that are wanted, as many as leave the rest of the service its files."""
    return max(FEWEST_CONNECTIONS, min(wanted, files - needed(0, workers)))


def ensure_files(files: int) -> int:
    """Raise this process's own limit to so many, as far as the system lets it; the limit that holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= files:
        return files
    wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS has a lower limit than it tells
        return soft
    return wanted
