"""The table of GitHub's events."""

from __future__ import annotations

import pytest

from hls_handler.settings.github_events import complaint, complaint_of_one


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


@pytest.mark.parametrize("key", ["issues.opened", "push", "repository_dispatch", "repository_dispatch.anything"])
def test_one_event_is_known(key: str) -> None:
    assert complaint_of_one(key) is None


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("release.publishd", 'the event "release" has no action "publishd"; did you mean release.published?'),
        (
            "pull_request_review",
            (
                'the event "pull_request_review" comes with an action; '
                "write pull_request_review. and one of dismissed, edited, submitted"
            ),
        ),
    ],
)
def test_one_event_without_its_action_is_told_which_there_are(key: str, sentence: str) -> None:
    assert complaint_of_one(key) == sentence
