"""Events of GitHub in settings: misspelt ones are reported."""

from __future__ import annotations

import pytest

from hls_handler.settings.github_events import find_event_problem


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("issues", None),
        ("pull_request.review_requested", None),
        ("repository_dispatch.anything-at-all", None),
        (
            "pull_requests.opened",
            'GitHub has no event "pull_requests"; did you mean pull_request.opened?',
        ),
        ("xyzzy", 'GitHub has no event "xyzzy"'),
        ("push.opened", 'the event "push" has no actions; write push'),
        ("watch.xyzzy", 'the event "watch" has no action "xyzzy"; it has started'),
    ],
)
def test_the_message_about_an_unknown_event_names_the_nearest_one(
    key: str, sentence: str | None
) -> None:
    assert find_event_problem(key) == sentence
