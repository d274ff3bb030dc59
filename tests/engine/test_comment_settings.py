"""Settings of what comments show and what Claude is asked for them, from the settings to GitHub."""

from __future__ import annotations

import json
from typing import Any

from hls_handler.analysis import PullRequestAnalysis, Reply
from hls_handler.engine.asking import prompt_limits
from hls_handler.events import Label
from hls_handler.prompting.reply_fields import with_optional_fields
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from tests.engine.world import MakeWorld, World, library, settings
from tests.handlers.world import file, finding, pull_request_analysis

FILES = (file("a.py", "@@ -1 +1 @@\n-a\n+b"), file("z.py", "@@ -1 +1 @@\n-y\n+z"))
FOUND = [
    finding(path="z.py", line=1, quote="z", title="Slow", category="performance", severity="high"),
    finding(path="a.py", line=1, quote="b", title="Ugly", category="style", severity="low"),
]


def given(**sections: Any) -> Settings:
    """Return settings with these keys: `review={"categories": ["style"]}`."""
    plain = settings()
    changed = {
        name: type(getattr(plain, name)).model_validate({**getattr(plain, name).model_dump(), **keys})
        for name, keys in sections.items()
    }
    return plain.model_copy(update=changed)


def review(make_world: MakeWorld, reply: Reply, **sections: Any) -> World:
    review = {"verify": False, "max_inline": 0, **sections.pop("review", {})}
    world = make_world(reply, given=given(review=review, **sections))
    push(world, "first")
    return world


def push(world: World, guid: str, **known: Any) -> None:
    files = world.github.changed.get(2, FILES)
    world.open_pull_request(*files, guid=guid, changed_files=2, **known)
    assert world.finish().state == "done"


def test_only_findings_of_the_listed_categories_are_asked_for_and_shown(make_world: MakeWorld) -> None:
    world = review(make_world, pull_request_analysis(findings=FOUND), review={"categories": ["bugs", "style"]})
    task = world.claude.asked[0].task
    assert "Findings of the category style are wanted, too" in task
    assert "not wanted: no security, no performance." in task
    assert "Ugly" in world.github.comments[2]
    assert "Slow" not in world.github.comments[2]
    assert "Left out: 1 finding that the settings do not ask for" in world.github.comments[2]


def test_by_default_a_review_is_asked_for_no_more_than_findings_and_style_is_left_out(make_world: MakeWorld) -> None:
    world = review(make_world, pull_request_analysis(findings=FOUND))
    asked = f"{world.claude.asked[0].task} {json.dumps(world.claude.asked[0].schema)}"
    assert [word in asked for word in ("wanted", "priority", "file_summaries")] == [False, False, False]
    assert set(world.github.labels[2]) == {"size/small", "type/bug-fix"}
    comment = world.github.comments[2]
    assert [text in comment for text in ("Slow", "Ugly", "What changes in")] == [True, False, False]


ASSESSED = {"assess": ["issues", "pull_requests"]}


def test_pull_request_gets_a_priority_and_a_difficulty_if_settings_ask_for_it(make_world: MakeWorld) -> None:
    model = with_optional_fields(PullRequestAnalysis, ["priority", "difficulty"])
    plain = pull_request_analysis().model_dump()
    reply = model.model_validate({**plain, "priority": "high", "difficulty": "easy"})
    world = review(make_world, reply, labels=ASSESSED)
    assert set(world.github.labels[2]) == {"size/small", "type/bug-fix", "priority-high", "difficulty-easy"}
    schema = world.claude.asked[0].schema
    assert schema["properties"]["priority"]["enum"] == ["high", "medium", "low"]  # type: ignore[index]
    assert {"priority", "difficulty"} < set(schema["required"])  # type: ignore[call-overload]
    world.claude.replies = [model.model_validate({**plain, "priority": "low", "difficulty": "easy"})]
    world.github.changed[2] = (FILES[0], file("z.py", "@@ -1 +1 @@\n-y\n+changed"))
    push(world, "second", labels=(Label("priority-high"), Label("difficulty-easy")))
    assert "that its labels name" in world.claude.asked[1].task
    assert set(world.github.labels[2]) == {"size/small", "type/bug-fix", "priority-low", "difficulty-easy"}


def sums_up(*paths: str, summary: str = "Says b in place of a | c.") -> Reply:
    sentences = [{"path": path, "summary": summary} for path in paths]
    model = with_optional_fields(PullRequestAnalysis, ["file_summaries"])
    return model.model_validate({**pull_request_analysis().model_dump(), "file_summaries": sentences})


def test_each_changed_file_gets_a_sentence_whose_cost_is_shown(make_world: MakeWorld) -> None:
    world = review(make_world, sums_up("z.py", "a.py", "unknown.py"), comments={"files": True})
    assert len(world.claude.asked) == 1
    assert "one entry for each file above" in world.claude.asked[0].task
    schema = world.claude.asked[0].schema
    assert "file_summaries" in schema["required"]  # type: ignore[operator]
    assert world.github.comments[2].count("Says b in place of a") == 2
    assert (
        "<details><summary>What changes in 2 files</summary>\n\n"
        "- `a.py`: Says b in place of a \\| c.\n"
        "- `z.py`: Says b in place of a \\| c.\n\n"
        "About 52 of the 100 output tokens of this review are for this list, 0.000026 USD.\n\n"
        "</details>"
    ) in world.github.comments[2]


def test_later_review_keeps_the_sentences_about_files_that_it_does_not_read(make_world: MakeWorld) -> None:
    world = review(make_world, sums_up("a.py", "z.py"), comments={"files": True})
    world.claude.replies = [sums_up("z.py", summary="Says changed.")]
    world.github.changed[2] = (FILES[0], file("z.py", "@@ -1 +1 @@\n-y\n+changed"))
    push(world, "second", head_sha="f" * 40)
    both = "- `a.py`: Says b in place of a \\| c.\n- `z.py`: Says changed.\n"
    assert both in world.github.comments[2]
    push(world, "third", head_sha="f" * 40, title="Another title")
    assert len(world.claude.asked) == 2
    assert both in world.github.comments[2]
    world.github.changed[2] = world.github.changed[2][1:]
    push(world, "fourth", head_sha="e" * 40)
    assert "a.py" not in world.github.comments[2]


def test_sentences_about_files_are_asked_for_only_if_the_comment_shows_them_and_then_there_is_one() -> None:
    both = given(comments={"files": True})
    (effective,) = RepositoryTable(both).all()

    def limits(prompt: str) -> tuple[bool, str]:
        found = prompt_limits(both, library(), "pull_request", effective, prompt)
        return found.sums_up_files, found.summary

    assert limits("pull_requests/analyze") == (True, "always")
    assert limits("pull_requests/changelog") == (False, "on_findings")
