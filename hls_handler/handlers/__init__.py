"""Handlers: one small class an event family. Gather facts, plan actions; never write, never see PyGithub."""

from collections.abc import Mapping
from typing import Any

from hls_handler.handlers.comments import CommentHandler
from hls_handler.handlers.generic import GenericHandler
from hls_handler.handlers.handler import Handler
from hls_handler.handlers.issues import IssueHandler
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.releases import ReleaseHandler
from hls_handler.handlers.reviews import ReviewHandler
from hls_handler.handlers.workflows import WorkflowHandler

HANDLERS: Mapping[str, Handler[Any]] = {
    "issues": IssueHandler(),
    "pull_request": PullRequestHandler(),
    "pull_request_review": ReviewHandler(),
    "workflow_run": WorkflowHandler(),
    "issue_comment": CommentHandler(),
    "release": ReleaseHandler(),
}
"""The handler of each event that has one of its own, by GitHub's name of the event."""


def handler_for(event_name: str) -> Handler[Any]:
    """The handler of an event: its own, or the one for all others."""
    return HANDLERS.get(event_name) or GenericHandler(event_name)
