"""Names of repositories, events and accounts, and the payload objects that each event must have."""

from __future__ import annotations

import re
from collections.abc import Mapping

REPOSITORY_NAME = re.compile(r"(?!\.\.?/)[A-Za-z0-9_.-]+/(?!\.\.?\Z)[A-Za-z0-9_.-]+")
"""A whole "owner/repo", for fullmatch. Goes into URLs unquoted: no second slash, `..` or special character."""

REQUIRED_OBJECTS: Mapping[str, tuple[str, ...]] = {
    "issues": ("issue",),
    "pull_request": ("pull_request",),
    "pull_request_review": ("review", "pull_request"),
    "workflow_run": ("workflow_run",),
    "issue_comment": ("comment", "issue"),
    "release": ("release",),
}
"""Objects that the payload of each event with its own handler must have; checks the unsigned event header."""


def event_key(name: str, action: str | None) -> str:
    return f"{name}.{action}" if action else name


def is_bot(login: str, kind: str) -> bool:
    """Return True for a bot account, by its `type` or by the suffix of App logins: "dependabot[bot]"."""
    return kind == "Bot" or login.endswith("[bot]")
