"""The child process that parses source files: see `parser_process`."""

from __future__ import annotations

import json
import signal
import sys

from hls_handler.review.comments import list_code_rows
from hls_handler.review.names import list_named

FUNCTIONS = {"names": list_named, "code": list_code_rows}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it by closing the pipe
    for line in sys.stdin.buffer:
        wanted, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(FUNCTIONS[wanted](*arguments)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
