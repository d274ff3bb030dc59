"""Names in events: of repositories, of the events themselves, and of the objects that they are named by."""

from __future__ import annotations

import re
from collections.abc import Mapping

REPOSITORY_NAME = re.compile(r"(?!\.\.?/)[A-Za-z0-9_.-]+/(?!\.\.?\Z)[A-Za-z0-9_.-]+")
"""A whole "owner/repo", for fullmatch. It goes into addresses as it is: no second slash, no `..`, nothing to quote."""

NAMED_BY: Mapping[str, tuple[str, ...]] = {
    "issues": ("issue",),
    "pull_request": ("pull_request",),
    "pull_request_review": ("review", "pull_request"),
    "workflow_run": ("workflow_run",),
    "issue_comment": ("comment", "issue"),
    "release": ("release",),
}
"""The objects that the payload of an event with a handler of its own has: unsigned headers are held against them."""


def event_key(name: str, action: str | None) -> str:
    return f"{name}.{action}" if action else name


def is_bot(login: str, kind: str) -> bool:
    """Whether an account is a program's, by its `type` or by how Apps are named: "dependabot[bot]"."""
    return kind == "Bot" or login.endswith("[bot]")
