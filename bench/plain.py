"""What receives webhooks without HLS, each as few lines as people write: the references for
throughput.

`python -m bench.plain CORE NAME FILE`: one of `SERVERS`, which may store deliveries in a file of
SQLite.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

import uvicorn
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi import Request as FastApiRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from bench.process import serve_on
from bench.requests import SECRET

_TABLE = "CREATE TABLE deliveries (guid TEXT PRIMARY KEY, event TEXT, body BLOB)"
_INSERT = "INSERT INTO deliveries VALUES (?, ?, ?)"


def bare(_file: str) -> ASGIApp:
    """Read the body and respond."""

    async def accept(request: Request) -> Response:
        await request.body()
        return Response(status_code=202)

    return Starlette(routes=[Route("/webhook", accept, methods=["POST"])])


def group_commit(file: str) -> ASGIApp:
    """Verify the signature, and respond after the commit of a thread that stores all deliveries
    which wait.
    """
    waiting: SimpleQueue[tuple[tuple[str, str, bytes], asyncio.Future[None]]] = SimpleQueue()

    def store() -> None:
        database = sqlite3.connect(file)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA wal_autocheckpoint = 4000")  # as HLS
        database.execute(_TABLE)
        while True:
            batch = [waiting.get()]
            while not waiting.empty():
                batch.append(waiting.get())
            with database:
                database.executemany(_INSERT, [row for row, _ in batch])
            stored = [done for _, done in batch]
            stored[0].get_loop().call_soon_threadsafe(_set_results, stored)

    async def accept(request: Request) -> Response:
        body = await request.body()
        if not _is_signed(request, body):
            return Response(status_code=401)
        stored = asyncio.get_running_loop().create_future()
        headers = request.headers
        row = (headers["x-github-delivery"], headers["x-github-event"], body)
        waiting.put((row, stored))
        await stored
        return Response(status_code=202)

    threading.Thread(target=store, daemon=True).start()
    return Starlette(routes=[Route("/webhook", accept, methods=["POST"])])


def _set_results(stored: list[asyncio.Future[None]]) -> None:
    for one in stored:
        one.set_result(None)


def background_tasks(_file: str) -> ASGIApp:
    """Verify the signature, parse, and respond before the work: what waits is lost at a kill."""
    app = FastAPI()

    async def work(_event: Any) -> None:
        """It costs nothing here."""

    @app.post("/webhook", status_code=202)
    async def accept(request: FastApiRequest, tasks: BackgroundTasks) -> dict[str, str]:
        body = await request.body()
        if not _is_signed(request, body):
            raise HTTPException(401)
        tasks.add_task(work, json.loads(body))
        return {"status": "accepted"}

    return app


def _is_signed(request: Request, body: bytes) -> bool:
    expected = "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()
    return hmac.compare_digest(expected, request.headers["x-hub-signature-256"])


SERVERS: Mapping[str, Callable[[str], ASGIApp]] = {
    "bare": bare,
    "group-commit": group_commit,
    "background-tasks": background_tasks,
}


def _server(app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    return uvicorn.Server(config)


if __name__ == "__main__":
    core, name, path = sys.argv[1:]
    serve_on(int(core), _server(SERVERS[name](path)))
