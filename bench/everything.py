"""`python -m bench.everything`: a process that has imported all commands and libraries, and does
nothing.
"""

from __future__ import annotations

import signal

import alembic.command
import anthropic.resources.messages
import genai_prices
import github
import psycopg
import rich.console
import uvicorn.protocols.http.httptools_impl
import uvloop

from hls_handler.cli import COMMANDS, load_command

IMPORTED = (alembic, anthropic, genai_prices, github, psycopg, rich, uvicorn, uvloop)

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    for name in COMMANDS:
        load_command(name)
    print(0, flush=True)  # no port
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
