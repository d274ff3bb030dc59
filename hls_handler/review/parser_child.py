"""The child process that parses source files: see `parser_process`."""

from __future__ import annotations

import json
import signal
import sys

from hls_handler.review.functions import find_beginnings
from hls_handler.review.names import list_named

FUNCTIONS = {"beginnings": find_beginnings, "names": list_named}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it by closing the pipe
    for line in sys.stdin.buffer:
        what, text, path, numbers = json.loads(line)
        sys.stdout.write(json.dumps(FUNCTIONS[what](text, path, numbers)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
