"""`hls serve`: the service itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from hls_handler.app import Role, Service, configure_logs
from hls_handler.cli.options import DOTENV, Config, config_path, fail, refuse
from hls_handler.errors import SettingsError, StartLater
from hls_handler.settings.file import SettingsFile
from hls_handler.settings.model import Settings
from hls_handler.web.server import graceful_shutdown_s, listen, make_server

log = logging.getLogger(__name__)

SIGNAL_POLL_S = 0.1

Part = Annotated[
    Role,
    typer.Option(
        "--role",
        help="all: take webhooks in and work on them; web: take them in only; worker: work only, and answer no more "
        "than /health and /stats. web and worker need a PostgreSQL that they share.",
    ),
]


def serve(config: Config = None, role: Part = "all") -> None:
    """Receive webhooks and work on them until SIGTERM or Ctrl-C.

    At SIGTERM no new work begins, running steps may end within limits.shutdown_s, and the rest goes on at the next
    start, or on another machine. Only one `hls serve` may hold an SQLite database; any number may share a PostgreSQL.

    Exit codes: 0 ended as it was told to; 1 the database cannot be used now, and a later start may succeed; 2 the
    settings, the prompts or the port cannot be used. Every reason is printed, a line each.
    """
    raise typer.Exit(run_service(config_path(config), partial(Service, role=role)))


def run_service(path: Path, make: Callable[[SettingsFile], Service] = Service) -> int:
    """Serve the settings of a file until told to end; the exit code. `make` builds the service."""
    try:
        file = SettingsFile(path, os.environ, dotenv=DOTENV)
    except SettingsError as exc:
        refuse(exc.problems)
    settings = file.first
    configure_logs(settings)
    problems: list[str] = []
    service = sock = None
    later = False
    try:
        sock = listen(settings)
    except SettingsError as exc:
        problems += exc.problems
    try:
        service = make(file)
    except SettingsError as exc:
        later = isinstance(exc, StartLater) and not problems
        problems += exc.problems
    if service is None or sock is None:
        if sock is not None:
            sock.close()
        if later:
            fail(problems[0])
        refuse(problems)
    server = make_server(service.web, service.settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        # For a signal before uvicorn runs, and after: uvicorn raises its signals again when it has ended, and the
        # default handler would end the process as if it had been killed.
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    _announce(path, settings, service.role, port=sock.getsockname()[1])
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_run(server, service, sock))
    return 0


async def _run(server: uvicorn.Server, service: Service, sock: socket.socket) -> None:
    """Run the server; at a stop signal take no new work at once, though open connections may last a while."""
    running = asyncio.create_task(server.serve(sockets=[sock]))
    while not running.done():
        if server.should_exit:
            service.begin_to_stop()
        server.config.timeout_graceful_shutdown = graceful_shutdown_s(service.settings())
        await asyncio.wait((running,), timeout=SIGNAL_POLL_S)
    await running


def _announce(path: Path, settings: Settings, role: Role, *, port: int) -> None:
    host = settings.server.host
    webhook = f"http://{host}:{port}{settings.server.webhook_path}"
    log.info(
        "serving",
        extra={
            "role": role,
            "webhook": None if role == "worker" else webhook,
            "health": f"http://{host}:{port}/health",
            "stats": f"http://{host}:{port}/stats",
            "settings": str(path.resolve()),
            "prompts": ", ".join(str(folder.resolve()) for folder in settings.prompts.folders.values()),
            "repositories": [repository.name for repository in settings.repositories],
        },
    )
    for warning in settings.warnings:
        log.warning(warning)
