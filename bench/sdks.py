"""`python -m bench.sdks PORT`: repeat all requests that a stand-in has recorded, with PyGithub and
anthropic alone.

Prints the CPU time of all calls in milliseconds.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from anthropic import Anthropic
from github import Auth, Github

from bench.process import MeasuredProcess
from bench.stand_in import StandIn


def _replay(upstream: StandIn) -> float:
    settings = upstream.settings
    token, api_key = settings["credentials"]
    github = Github(
        base_url=settings["github_url"],
        auth=Auth.Token(token),
        lazy=True,
        retry=None,
        seconds_between_requests=None,
        seconds_between_writes=None,
    )
    claude = Anthropic(api_key=api_key, base_url=settings["claude_url"], max_retries=0, timeout=60)
    requests = upstream.requests()
    for request in requests[:20]:  # so that imports and connections are not measured
        _send(github, claude, request)
    before_s = time.process_time()
    for request in requests:
        _send(github, claude, request)
    return (time.process_time() - before_s) * 1000


def _send(github: Github, claude: Anthropic, request: dict[str, Any]) -> None:
    if request["stand_in"] == "claude":
        claude.messages.create(**request["body"])
    else:
        parameters = request["query"] or None
        github.requester.requestJson(
            request["method"], request["path"], parameters, input=request["body"]
        )


if __name__ == "__main__":
    print(_replay(StandIn(MeasuredProcess(int(sys.argv[1]), 0))))
