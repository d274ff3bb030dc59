"""`hls serve` runs the service. `hls up` runs the service, or the demo if no credentials are
set.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer
import uvicorn

from hls_handler.app import Service
from hls_handler.cli.options import (
    CREDENTIALS,
    DOTENV,
    Config,
    abort,
    config_path,
    fail,
    find_credentials,
    http_origin,
)
from hls_handler.cli.terminal import print_line
from hls_handler.engine.processing import Role, configure_logs
from hls_handler.errors import DatabaseUnavailable, SettingsError
from hls_handler.logs import LogRing
from hls_handler.settings import shipped
from hls_handler.settings.load import SETTINGS_FILE
from hls_handler.settings.model import Settings
from hls_handler.settings.reload import SettingsFile
from hls_handler.web.server import graceful_shutdown_s, listen, make_server

log = logging.getLogger(__name__)

OFF = "off, because server.api_key is not set"  # the console
SIGNAL_POLL_S = 0.1
RoleOption = Annotated[
    Role,
    typer.Option(
        "--role",
        help=(
            "all: receive webhooks and process them; web: only receive them; worker: only process"
            " them, and serve only the console, /health and /stats. web and worker need a shared"
            " PostgreSQL database."
        ),
    ),
]

Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="PORT",
        min=0,
        max=65535,
        help="Port, or 0 for a free one; overrides server.port.",
        show_default=False,
    ),
]
ExitWithParent = Annotated[
    bool,
    typer.Option(
        "--exit-with-parent",
        hidden=True,
        help="Exit when standard input is closed, as the demo does.",
    ),
]


def serve(
    config: Config = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST", help="Address to listen on; overrides server.host.", show_default=False
        ),
    ] = None,
    port: Port = None,
    role: RoleOption = "all",
    exit_with_parent: ExitWithParent = False,
) -> None:
    """Receive and process webhooks until SIGTERM or Ctrl-C.

    On SIGTERM no new step begins, and running steps have limits.shutdown_s to finish. Unfinished
    deliveries continue after the next start or on another machine. Only one `hls serve` can use an
    SQLite database; any number can share a PostgreSQL database.
    """
    if exit_with_parent:
        threading.Thread(target=_exit_with_parent, name="parent-watcher", daemon=True).start()
    given = {"server.host": host, "server.port": port}
    options = {key: value for key, value in given.items() if value is not None}
    raise typer.Exit(run_service(config_path(config), partial(Service, role=role), options))


def _exit_with_parent() -> None:
    os.read(0, 1)  # returns when standard input is closed: the demo has ended
    # not gracefully: running steps could not succeed, because the demo's stand-ins have ended, too
    os._exit(1)


def run_service(
    path: Path,
    make: Callable[[SettingsFile, LogRing], Service] = Service,
    options: Mapping[str, object] = MappingProxyType({}),
) -> int:
    """Run the service until a stop signal; return 0. If the start fails, print why and raise
    `typer.Exit` (1 or 2).

    `options` override keys of the file.
    """
    file = SettingsFile(path, os.environ, dotenv=DOTENV, options=options)
    settings = file.initial
    ring = LogRing()
    configure_logs(settings, ring)
    problems: list[str] = []
    service = sock = None
    can_start_later = False
    try:
        sock = listen(settings)
    except SettingsError as exc:
        problems += exc.problems
    try:
        service = make(file, ring)
    except SettingsError as exc:
        can_start_later = isinstance(exc, DatabaseUnavailable) and not problems
        problems += exc.problems
    if service is None or sock is None:
        if sock is not None:
            sock.close()
        if can_start_later:
            fail(problems[0])
        abort(*problems)
    server = make_server(service.web, service.settings())
    for number in (signal.SIGTERM, signal.SIGINT):
        # Handles signals before uvicorn starts and after it ends. At its end, uvicorn raises
        # received signals again; with the default handler, the process would then end as if it had
        # been killed.
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    host, port = sock.getsockname()[:2]
    _announce(path, settings, service, host=host, port=port)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_run(server, service, sock))
    log.info("stopped")
    return 0


async def _run(server: uvicorn.Server, service: Service, sock: socket.socket) -> None:
    running = asyncio.create_task(server.serve(sockets=[sock]))
    while not running.done():
        if server.should_exit:
            service.begin_to_stop()
        server.config.timeout_graceful_shutdown = graceful_shutdown_s(service.settings())
        await asyncio.wait((running,), timeout=SIGNAL_POLL_S)
    await running


def _announce(path: Path, settings: Settings, service: Service, *, host: str, port: int) -> None:
    role = service.role
    address = http_origin(host, port)
    webhook: str | None = f"{address}{settings.server.webhook_path}"
    does = f"receives webhooks at {webhook}"
    if role == "worker":
        webhook = None
        does = "processes deliveries"
    console = OFF
    shows = f"the console is {OFF}"
    if settings.has_console:
        console = f"{settings.server.public_url or address}/"
        shows = f"console: {console}"
    level = logging.INFO
    if sys.stderr.isatty() and settings.logging.format != "json":
        level = logging.DEBUG
        # the first of three lines; the probe shows the others when it has connected
        print_line(f"Listening: {does}; {shows}", err=True)
        service.connections.show = partial(print_line, err=True)
    log.log(
        level,
        "serving",
        extra={
            "role": role,
            "webhook": webhook,
            "console": console,
            "health": f"{address}/health",
            "stats": f"{address}/stats",
            "settings": str(path.resolve()),
            "prompts": ", ".join(
                str(folder.resolve()) for folder in settings.prompts.folders.values()
            ),
            "repositories": [repository.name for repository in settings.repositories],
        },
    )
    if path == shipped.SETTINGS:
        log.info(
            f"there is no {SETTINGS_FILE.absolute()}: the shipped settings apply, to every"
            " repository whose webhook has the secret"
        )
    for warning in settings.warnings:
        log.warning(warning)


def up(config: Config = None) -> None:
    """Run the service, or the demo if nothing is set up.

    Runs `hls serve` if there is a settings file of your own (--config, $HLS_CONFIG or
    config/settings.yaml). Otherwise GITHUB_TOKEN, GITHUB_WEBHOOK_SECRET and ANTHROPIC_API_KEY
    decide, from the environment or from .env: with all three, runs `hls serve` with the shipped
    settings; else `hls demo`.
    """
    path = config_path(config)
    if path == shipped.SETTINGS and len(find_credentials()) < len(CREDENTIALS):
        from hls_handler.cli.demo import run_demo  # here: `hls serve` does not need it

        raise typer.Exit(run_demo(once=False))
    raise typer.Exit(run_service(path))
