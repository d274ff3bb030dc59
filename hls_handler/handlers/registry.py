"""The handler of each event and command."""

from __future__ import annotations

from collections.abc import Mapping

from hls_handler.handlers.cherry_picks import CHERRY_PICK, CherryPickHandler
from hls_handler.handlers.comments import CommentHandler
from hls_handler.handlers.generic import GenericHandler
from hls_handler.handlers.handler import Handler
from hls_handler.handlers.issues import IssueHandler
from hls_handler.handlers.oracle import TEST_ORACLE, OracleHandler
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.releases import ReleaseHandler
from hls_handler.handlers.reviews import ReviewHandler
from hls_handler.handlers.workflows import CheckRunHandler, WorkflowHandler

HANDLERS: Mapping[str, Handler] = {
    "issues": IssueHandler(),
    "pull_request": PullRequestHandler(),
    "pull_request_review": ReviewHandler(),
    "workflow_run": WorkflowHandler(),
    "check_run": CheckRunHandler(),
    "issue_comment": CommentHandler(),
    "release": ReleaseHandler(),
}
"""GitHub's event name -> the handler for that event."""

COMMAND_HANDLERS: Mapping[str, Handler] = {
    CHERRY_PICK: CherryPickHandler(),
    TEST_ORACLE: OracleHandler(),
}
"""The handlers of commands that ask Claude. Their keys have the place of an event's name."""


def handler_for(event_name: str) -> Handler:
    """Return the handler of an event or a command; a `GenericHandler` for an event that is not in
    `HANDLERS`.
    """
    return (
        HANDLERS.get(event_name) or COMMAND_HANDLERS.get(event_name) or GenericHandler(event_name)
    )
