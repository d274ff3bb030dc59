"""The HTTP server: uvicorn with its configuration, and the limits for which uvicorn has no option."""

from __future__ import annotations

import logging
import math
import os
import resource
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from hls_handler.errors import SettingsError
from hls_handler.settings.model import Settings
from hls_handler.web.limits import Connections, limited_protocol

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 15
BACKLOG = 2048

OWN_FILES, FILES_PER_WORKER = 64, 8
"""Open files reserved for database, GitHub, Claude and prompts: `OWN_FILES` plus `FILES_PER_WORKER` per worker."""

MIN_CONNECTIONS = 16


def find_connection_limit(settings: Settings) -> int:
    """Return how many connections may be open: server.max_connections, or fewer. Raises the limit of open files.

    The number is lower if the system allows too few open files, because libuv would silently drop further connections.
    """
    reserved = OWN_FILES + FILES_PER_WORKER * (settings.limits.concurrency + 1)
    wanted = settings.server.max_connections
    return max(MIN_CONNECTIONS, min(wanted, raise_file_limit(wanted + reserved) - reserved))


def raise_file_limit(files: int) -> int:
    """Raise the limit of open files to `files`. Return `files`, or the system's maximum if it is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= files:
        return files
    wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS enforces a lower limit than it reports
        return soft
    return wanted


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on server.host and server.port. Raises `SettingsError` if that fails."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        where = settings.sources.where("server.port")
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        advice = "choose a free port with it or with --port; each `hls serve` needs its own"
        raise SettingsError([f"{where}: cannot listen on {host}:{port}: {reason}; {advice}"]) from exc


def graceful_shutdown_s(settings: Settings) -> int:
    """Return how many seconds uvicorn waits for open requests after a stop signal: at most limits.shutdown_s."""
    longest_request_s = max(settings.server.body_timeout_s, settings.server.sync_timeout_s) + 1
    return math.ceil(min(longest_request_s, settings.limits.shutdown_s))


def make_server(app: ASGIApp, settings: Callable[[], Settings]) -> uvicorn.Server:
    """Return a server; run it with `server.serve(sockets=[listen(...)])`. `settings` returns the current settings."""
    wanted, limit = settings().server.max_connections, find_connection_limit(settings())
    if limit < wanted:
        log.warning(
            "fewer connections than server.max_connections allowed: raise the limit of open files (ulimit -n)",
            extra={"wanted": wanted, "connections": limit},
        )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings are about requests that anybody can send
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=limited_protocol(Connections(lambda: find_connection_limit(settings())), lambda: settings().server),
        ws="none",
        lifespan="on",
        workers=1,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=graceful_shutdown_s(settings()),
    )
    return uvicorn.Server(config)
