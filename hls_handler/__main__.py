"""Entry point of the command `hls` and of `python -m hls_handler`."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

INTERRUPTED = 130
"""Exit code after Ctrl-C, by shell convention (128 + SIGINT)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments`, or with those of the process.

    Garbage collection is off during the imports, because it takes a fifth of their time.
    """
    gc.disable()
    try:
        from hls_handler.cli import app

        app(arguments, prog_name="hls")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        gc.freeze()  # else Python searches all objects for garbage at exit, which takes 0.1 s


if __name__ == "__main__":
    main()
