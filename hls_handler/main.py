"""`uvicorn hls_handler.main:app` runs the service under another server than that of `hls serve`.

`python -m hls_handler.main` is `hls serve`.
"""

from __future__ import annotations

import sys

from starlette.applications import Starlette

from hls_handler.__main__ import main
from hls_handler.app import create


def __getattr__(name: str) -> Starlette:
    """Create the service at the first use of `app`, because importing a module must not open a
    database.
    """
    if name != "app":
        raise AttributeError(f"{__name__} has only app")
    globals()[name] = service = create()
    return service


if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
