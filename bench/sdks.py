"""What the SDKs cost alone: `python -m bench.sdks PORT` makes all calls once more that the stand-in there was asked.

Prints the milliseconds of CPU that all of them took together.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from anthropic import Anthropic
from github import Auth, Github

from bench.process import Subject
from bench.standin import StandIn


def _replay(there: StandIn) -> float:
    (token, api_key), where = there.where["credentials"], there.where
    github = Github(
        auth=Auth.Token(token),
        base_url=where["github_url"],
        retry=None,
        seconds_between_requests=None,
        seconds_between_writes=None,
        timeout=15,
        lazy=True,
        api_version="2022-11-28",
    )
    claude = Anthropic(api_key=api_key, base_url=where["claude_url"], max_retries=0, timeout=60)
    asked = there.requests()
    for request in asked[:20]:  # imports and connections are not what is measured
        _ask(github, claude, request)
    before_s = time.process_time()
    for request in asked:
        _ask(github, claude, request)
    return (time.process_time() - before_s) * 1000


def _ask(github: Github, claude: Anthropic, request: dict[str, Any]) -> None:
    if request["stand_in"] == "claude":
        claude.messages.create(**request["body"])
    else:
        github.requester.requestJson(
            request["method"], request["path"], request["query"] or None, None, request["body"]
        )


if __name__ == "__main__":
    print(_replay(StandIn(Subject(int(sys.argv[1]), 0))))
