"""`python -m bench.imports`: a process that has imported the same modules as the service, and does
nothing.
"""

from __future__ import annotations

import signal

import anthropic.resources.messages
import genai_prices
import github
import uvicorn.protocols.http.httptools_impl
import uvloop

import hls_handler.cli.serve

IMPORTED = (anthropic, genai_prices, github, hls_handler, uvicorn, uvloop)

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    print(0, flush=True)  # no port
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
