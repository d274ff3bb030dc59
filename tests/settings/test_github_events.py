"""The table of GitHub's events."""

from __future__ import annotations

import pytest

from hls_handler.settings.github_events import find_event_problem, find_single_event_problem


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
def test_events_of_github_are_accepted(key: str) -> None:
    assert find_event_problem(key) is None


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
def test_the_message_about_an_unknown_event_names_the_nearest_one(key: str, sentence: str) -> None:
    assert find_event_problem(key) == sentence


@pytest.mark.parametrize("key", ["issues.opened", "push", "repository_dispatch", "repository_dispatch.anything"])
def test_a_single_event_is_accepted(key: str) -> None:
    assert find_single_event_problem(key) is None


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("release.publishd", 'the event "release" has no action "publishd"; did you mean release.published?'),
        (
            "pull_request_review",
            (
                'the event "pull_request_review" needs an action; '
                "write pull_request_review. followed by one of dismissed, edited, submitted"
            ),
        ),
    ],
)
def test_the_message_about_a_missing_action_lists_the_actions(key: str, sentence: str) -> None:
    assert find_single_event_problem(key) == sentence
