"""The table of GitHub's events."""

from __future__ import annotations

import pytest

from hls_handler.settings.github_events import complaint


@pytest.mark.parametrize(
    "key",
    [
        "issues",
        "issues.opened",
        "pull_request.review_requested",
        "pull_request_review.submitted",
        "push",
        "workflow_run.completed",
        "repository_dispatch.anything-at-all",
    ],
)
def test_what_github_sends_is_known(key: str) -> None:
    assert complaint(key) is None


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("issue", 'GitHub has no event "issue"; did you mean issues?'),
        ("pull_requests.opened", 'GitHub has no event "pull_requests"; did you mean pull_request.opened?'),
        ("xyzzy", 'GitHub has no event "xyzzy"'),
        ("issues.openend", 'the event "issues" has no action "openend"; did you mean issues.opened?'),
        ("push.opened", 'the event "push" has no actions; write push'),
        ("watch.xyzzy", 'the event "watch" has no action "xyzzy"; it has started'),
        ("watch.", 'the event "watch" has no action ""; it has started'),
        (
            "pull_request_review.review_requested",
            'the event "pull_request_review" has no action "review_requested"; it has dismissed, edited, submitted',
        ),
    ],
)
def test_what_github_never_sends_is_told_the_nearest(key: str, sentence: str) -> None:
    assert complaint(key) == sentence
