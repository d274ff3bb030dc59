"""Settings of what Claude gets and what comments show, from the settings to GitHub."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.analysis import PullRequestAnalysis, ReplyFields
from hls_handler.prompting import recorded
from hls_handler.prompting.reply_fields import with_optional_fields
from tests.engine.stand_in import file_document
from tests.engine.world import GUID, Ended, MakeWorld, World, settings
from tests.handlers.world import file, pull_request_analysis

FILES = (file("a.py", "@@ -1 +1 @@\n-a\n+b"), file("z.py", "@@ -1 +1 @@\n-y\n+z"))


def review(make_world: MakeWorld, reply: ReplyFields, **sections: Any) -> World:
    review = {"verify": False, "max_inline": 0, **sections.pop("review", {})}
    world = make_world(reply, given=settings(review=review, **sections))
    world.review(*FILES)
    return world


CHANGED = (FILES[0], file("z.py", "@@ -1 +1 @@\n-y\n+changed"))
ASSESSED = {"assess": ["issues", "pull_requests"]}


def test_pull_request_gets_a_priority_and_a_difficulty_if_settings_ask_for_it(
    make_world: MakeWorld,
) -> None:
    model = with_optional_fields(PullRequestAnalysis, ["priority", "difficulty"])
    plain = pull_request_analysis().model_dump()
    reply = model.model_validate({**plain, "priority": "high", "difficulty": "easy"})
    world = review(make_world, reply, labels=ASSESSED)
    assert set(world.github.labels[2]) == {
        "size/small",
        "type/bug-fix",
        "priority-high",
        "difficulty-easy",
    }
    schema = world.claude.asked[0].schema
    assert schema["properties"]["priority"]["enum"] == ["high", "medium", "low"]  # type: ignore[index]
    assert {"priority", "difficulty"} < set(schema["required"])  # type: ignore[call-overload]
    world.claude.replies = [
        model.model_validate({**plain, "priority": "low", "difficulty": "easy"})
    ]
    world.review(*CHANGED, guid="second")
    assert "that its labels name" in world.claude.asked[1].task
    assert set(world.github.labels[2]) == {
        "size/small",
        "type/bug-fix",
        "priority-low",
        "difficulty-easy",
    }


def sums_up(*paths: str, summary: str = "Says b in place of a | c.") -> ReplyFields:
    sentences = [{"path": path, "summary": summary} for path in paths]
    model = with_optional_fields(PullRequestAnalysis, ["file_summaries"])
    return model.model_validate(
        {**pull_request_analysis().model_dump(), "file_summaries": sentences}
    )


@pytest.mark.parametrize(
    ("shows_cost", "cost"),
    [
        (False, ""),
        (
            True,
            "About 52 of the 100 output tokens of this review are for this list, 0.000026 USD.\n\n",
        ),
    ],
)
def test_each_changed_file_gets_a_sentence_whose_cost_is_shown_if_settings_say_so(
    make_world: MakeWorld, shows_cost: bool, cost: str
) -> None:
    comments = {"files": True, "show_cost": shows_cost}
    world = review(make_world, sums_up("z.py", "a.py", "unknown.py"), comments=comments)
    assert len(world.claude.asked) == 1
    assert "one entry for each file above" in world.claude.asked[0].task
    schema = world.claude.asked[0].schema
    assert "file_summaries" in schema["required"]  # type: ignore[operator]
    assert world.github.comments[2].count("Says b in place of a") == 2
    assert (
        "<details><summary>What changes in 2 files</summary>\n\n"
        "- `a.py`: Says b in place of a \\| c.\n"
        "- `z.py`: Says b in place of a \\| c.\n\n"
        f"{cost}</details>" in world.github.comments[2]
    )


def test_later_review_keeps_the_sentences_about_files_that_it_does_not_read(
    make_world: MakeWorld,
) -> None:
    world = review(make_world, sums_up("a.py", "z.py"), comments={"files": True})
    world.claude.replies = [sums_up("z.py", summary="Says changed.")]
    world.review(*CHANGED, guid="second", head_sha="f" * 40)
    both = "- `a.py`: Says b in place of a \\| c.\n- `z.py`: Says changed.\n"
    assert both in world.github.comments[2]
    world.review(*CHANGED, guid="third", head_sha="f" * 40, title="Another title")
    assert len(world.claude.asked) == 2
    assert both in world.github.comments[2]
    world.review(*CHANGED[1:], guid="fourth", head_sha="e" * 40)
    assert "a.py" not in world.github.comments[2]


def names(title: str) -> ReplyFields:
    model = with_optional_fields(PullRequestAnalysis, ["suggested_title"])
    return model.model_validate({**pull_request_analysis().model_dump(), "suggested_title": title})


SUGGEST = {"pull_requests": {"title": "suggest", "title_types": ["fix"]}}


def test_suggested_title_stays_until_the_title_fits(make_world: MakeWorld) -> None:
    world = review(make_world, names("fix: use b"), **SUGGEST)
    assert "suggested_title" in world.claude.asked[0].schema["required"]  # type: ignore[operator]
    world.review(*FILES, guid="second", head_sha="d" * 40)
    assert len(world.claude.asked) == 1
    assert "A title that names the type of the change: `fix: use b`" in world.github.comments[2]
    world.review(*FILES, guid="third", head_sha="f" * 40, title="fix: use b")
    assert "A title that names" not in world.github.comments[2]


def test_rule_15_suggested_title_is_one_line_of_code(make_world: MakeWorld) -> None:
    title = "fix: ask `@octocat` <img src=x>\n\n# fixes #1"
    world = review(make_world, names(title), **SUGGEST)
    (line,) = [line for line in world.github.comments[2].split("\n") if "octocat" in line]
    assert (
        line
        == "A title that names the type of the change: `` fix: ask `@octocat` <img src=x> # fixes #1 ``"
    )


@pytest.mark.parametrize(
    "title",
    ["perf: use b", f"fix: {'b' * 68}", ""],
    ids=["type", "too long", "empty"],
)
def test_suggested_title_that_does_not_fit_is_not_shown(make_world: MakeWorld, title: str) -> None:
    world = review(make_world, names(title), **SUGGEST)
    assert world.github.comments == {}


@pytest.mark.parametrize(("mode", "title"), [("check", "Use b"), ("suggest", "feat(x)!: use b")])
def test_claude_is_asked_for_a_title_only_if_settings_ask_for_it_and_the_present_one_does_not_fit(
    make_world: MakeWorld, mode: str, title: str
) -> None:
    world = make_world(pull_request_analysis(), given=settings(pull_requests={"title": mode}))
    world.review(*FILES, title=title)
    (asked,) = world.claude.asked
    assert "suggested_title" not in asked.schema["properties"]  # type: ignore[operator]
    assert "suggested_title" not in asked.task


# The shipped changelog prompt, of pull requests that were closed


@pytest.mark.parametrize(
    ("post_to", "reason", "posted"),
    [({}, "analysed; nothing to post", []), ({"pull_request.closed": 1}, "commented", [1])],
    ids=["nowhere", "issue 1"],
)
def test_shipped_changelog_entry_is_stored_and_posted_only_where_settings_say(
    make_world: MakeWorld, post_to: dict[str, int], reason: str, posted: list[int]
) -> None:
    chosen = {"use": {"pull_request.closed": "pull_requests/changelog"}}
    repository = {"comments": {"post_to": post_to}}
    world = make_world(given=settings(repository=repository, prompts=chosen))
    model = world.prompts.prompts["pull_requests/changelog"].reply_model
    reply = {"worth_saying": True, "summary": "Counts lines.", "details": "", "section": "Fixed"}
    world.claude.replies = [model.model_validate(reply)]
    payload = recorded.load("pull_request.closed").payload
    closed = {**payload["pull_request"], "merged": True, "labels": []}
    world.github.seed_event(
        "pull_request",
        {**payload, "pull_request": closed},
        files=[file_document(file("a.py"))],
    )
    assert world.process("pull_request.closed") == Ended(GUID, "done", reason)
    assert (list(world.github.comments), world.github.labels) == (posted, {})
    assert all(comment.startswith("**Fixed** ([#2](") for comment in world.github.comments.values())
    assert "Counts lines." in world.store.replies.of(GUID).valid[0].reply
