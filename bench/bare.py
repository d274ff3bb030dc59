"""The reference for throughput: a Starlette application that reads the body and responds with 202.

`python -m bench.bare CORE`
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.process import serve_on


def bare() -> uvicorn.Server:
    async def accept(request: Request) -> Response:
        await request.body()
        return Response(status_code=202)

    app = Starlette(routes=[Route("/webhook", accept, methods=["POST"])])
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
    serve_on(int(sys.argv[1]), bare())
