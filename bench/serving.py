"""A subject's process: pinned to one core, on a free port that it prints, until SIGTERM."""

from __future__ import annotations

import os
import socket

import uvicorn


def serve_on(core: int, server: uvicorn.Server) -> None:
    os.sched_setaffinity(0, {core})
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        print(listening.getsockname()[1], flush=True)
        server.run(sockets=[listening])
