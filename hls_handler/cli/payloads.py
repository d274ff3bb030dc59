"""The payload that a command was given: a recorded one by name, or a file."""

from __future__ import annotations

from pathlib import Path

from hls_handler.cli.options import refuse
from hls_handler.sandbox import recorded
from hls_handler.sandbox.recorded import Recorded, UnknownPayload

PAYLOAD_HELP = (
    "A recorded payload by name (issues.opened, demo/question, ...) or a file with one (./event.json). "
    "`hls send --list` prints the names."
)


def find_payload(given: str, event: str | None) -> Recorded:
    """Exits with 2 when there is no such payload, or nobody can tell which event the file is."""
    try:
        if given.endswith(".json") or Path(given).is_file():
            return recorded.from_file(Path(given), event)
        return recorded.load(given)
    except UnknownPayload as exc:
        refuse([str(exc)])
    except OSError as exc:
        refuse([f"{given}: {exc.strerror}"])
