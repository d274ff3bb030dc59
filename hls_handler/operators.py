"""The log line `operator`: what a person did in the console, through the API, with a command of
`hls` or in a comment. docs/running.md describes its fields.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

Act = Literal[
    "retry",
    "discard",
    "pause",
    "resume",
    "catch-up",
    "forget",
    "review",
    "batch",
    "stop batch",
    "continue batch",
    "undo batch",
]
MAX_OBJECTS = 100  # that a line names

log = logging.getLogger(__name__)


def log_act(
    person: str, act: Act, objects: Sequence[str], *, number: int = 1, reason: str | None = None
) -> None:
    """Log one act. `person` is a login at the proxy or on GitHub, "API key", "local browser", or
    "command line (mona on host)".

    `objects` are GUIDs, a repository, the id of a prompt or a batch; none: everything.
    """
    fields = {
        "person": person,
        "act": act,
        "number": number,
        "reason": reason,
        "objects": list(objects[:MAX_OBJECTS]),
    }
    log.info("operator", extra=fields)
