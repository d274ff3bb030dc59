"""The child process that parses source files: see `parser_process`."""

from __future__ import annotations

import json
import signal
import sys

from hls_handler.review.names import list_named


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it by closing the pipe
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(list_named(*json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
