"""Handlers: one small class an event family. Gather facts, plan actions; never write, never see PyGithub."""

from collections.abc import Mapping
from typing import Any

from hls_handler.handlers.handler import Handler
from hls_handler.handlers.issues import IssueHandler
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.reviews import ReviewHandler

HANDLERS: Mapping[str, Handler[Any]] = {
    "issues": IssueHandler(),
    "pull_request": PullRequestHandler(),
    "pull_request_review": ReviewHandler(),
}
"""The handler of each event, by GitHub's name of the event."""
