"""`hls` and `python -m hls_handler`: the commands."""

from __future__ import annotations

import gc
import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main() -> None:
    """Import first, without looking for garbage meanwhile: there is none, and looking takes a fifth of the time."""
    gc.disable()
    try:
        from hls_handler.cli import app

        gc.freeze()
        gc.enable()
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
