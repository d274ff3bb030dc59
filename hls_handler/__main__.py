"""Entry point of the command `hls` and of `python -m hls_handler`."""

from __future__ import annotations

import gc
import os
import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, by shell convention (128 + SIGINT)."""


def main() -> None:
    """Run the command line. Garbage collection is off during the imports, because it takes a fifth of their time."""
    gc.disable()
    try:
        from hls_handler.cli import app
        from hls_handler.cli.options import DOTENV
        from hls_handler.settings.load import export_proxy_settings

        gc.freeze()
        gc.set_threshold(20_000, 20, 20)  # two webhooks make 700 objects, after which Python would collect garbage
        gc.enable()
        export_proxy_settings(os.environ, DOTENV)
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
