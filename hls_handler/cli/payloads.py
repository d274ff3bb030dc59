"""Load the webhook payload that a command line names: a recorded one or a file."""

from __future__ import annotations

from pathlib import Path

from hls_handler.cli.options import abort
from hls_handler.prompting import recorded
from hls_handler.prompting.recorded import Recorded, UnknownPayload

PAYLOAD_HELP = (
    "Name of a recorded payload (issues.opened, demo/question, ...) or a JSON file (./event.json). "
    "`hls send --list` prints the names."
)


def load_payload(given: str, event: str | None) -> Recorded:
    """Load a recorded payload by name or from a file; exits with 2 if that fails or the event is unknown."""
    try:
        if given.endswith(".json") or Path(given).is_file():
            return recorded.from_file(Path(given), event)
        return recorded.load(given)
    except UnknownPayload as exc:
        abort([str(exc)])
    except OSError as exc:
        abort([f"{given}: {exc.strerror}"])
