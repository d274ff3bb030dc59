"""`hls` and `python -m hls_handler`: the commands."""

from __future__ import annotations

import gc
import os
import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main() -> None:
    """Import first, without looking for garbage meanwhile: there is none, and looking takes a fifth of the time."""
    gc.disable()
    try:
        from hls_handler.cli import app
        from hls_handler.cli.options import DOTENV
        from hls_handler.settings.environment import adopt_way_out

        gc.freeze()
        gc.enable()
        adopt_way_out(os.environ, DOTENV)
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
