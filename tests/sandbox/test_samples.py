"""Template variables of comments about recorded events."""

from __future__ import annotations

import pytest

from hls_handler.analysis import REPLY_TYPES
from hls_handler.handlers import HANDLERS
from hls_handler.handlers.handler import PromptLimits
from hls_handler.prompting.render import COMMENT
from hls_handler.sandbox.samples import comment_examples

BUDGET = PromptLimits(input_tokens=30_000)
FAMILIES = [
    (event, reply)
    for event, handler in HANDLERS.items()
    for reply in sorted(handler.replies)
    if event != "check_run"  # it has the variables of workflow runs, and no recorded check says why it failed
]


@pytest.mark.parametrize(("event", "reply"), FAMILIES, ids=[f"{event}, {reply}" for event, reply in FAMILIES])
def test_every_variable_of_a_comment_has_an_example(event: str, reply: str) -> None:
    handler = HANDLERS[event]
    examples = list(comment_examples(event, REPLY_TYPES[reply], BUDGET))
    assert examples != []
    of_reply = (
        () if reply in ("generic_analysis", "finding_verdicts") else handler.comment_variable_types
    )  # such as `findings`
    names = {*COMMENT, *handler.variable_types, *of_reply, "analysis"}
    # In no recorded event, an author comments on their own issue, or a pull request closes one. Only the verification
    # has candidates, the sandbox quotes every line correctly, no shipped prompt asks for scores, and the default
    # settings ask for no sentences about files. An answer to an issue has no labels.
    # git cannot fetch recorded commits. Older issues are off.
    unused = {"author_comments", "linked_issues", "candidates", "unlocated", "scores", "second_sites"}
    unused |= {"documents", "quoted", "similar", "same", "reviewers"}
    unused |= {"summarized_files", "file_summaries", "title_types", "suggested_title", "merge"} | (
        {"labels"} if reply == "issue_response" else set()
    )
    for name in names - unused:
        assert any(example[name] not in (None, "", ()) for example in examples), name
