"""Loaded libraries: values of prompts, their events, and `then` links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hls_handler.analysis import IssueAnalysis, IssueResponse
from hls_handler.errors import PromptError
from hls_handler.prompting.library import Library, Prompt, Then, load_library
from tests.prompting.samples import ANALYSIS, BASE, FAMILIES, FRONT, PLAIN, load, shipped, write

QUESTION = ANALYSIS.model_copy(update={"kind": "question"})


def prompt_id(folder: Path, files: dict[str, str], name: str = "issues/plain") -> str:
    return load(folder, files).prompts[name].id


def test_prompt_has_the_values_of_its_front_matter(tmp_path: Path) -> None:
    front = (
        "---\ndescription: Sort it\non: [issues.opened, issues.edited]\nreply: issue_analysis\n"
        "model: claude-opus-5-5\nmax_tokens: 900\neffort: low\n"
        "then: {prompt: issues/more.j2, when: analysis.worth_saying}\n---\n"
    )
    more = "---\ndescription: More\nreply: issue_response\n---\n{{ analysis.summary }}"
    files = {"issues/sort.j2": front + "{{ issue.title }}", "issues/more.j2": more, "issues/sort.comment.md.j2": "x"}
    library = load(tmp_path, files)
    assert library.prompts["issues/sort"] == Prompt(
        name="issues/sort",
        id=library.prompts["issues/sort"].id,
        path=f"{tmp_path.as_posix()}/issues/sort.j2",
        description="Sort it",
        on=("issues.opened", "issues.edited"),
        reply="issue_analysis",
        reply_model=IssueAnalysis,
        model="claude-opus-5-5",
        max_tokens=900,
        effort="low",
        then=Then("issues/more", "analysis.worth_saying"),
        has_comment=True,
    )
    assert re.fullmatch(r"issues/sort@[0-9a-f]{6}", library.prompts["issues/sort"].id)
    assert library.prompts["issues/more"].has_comment is False
    assert library.file("issues/sort") == f"{tmp_path.as_posix()}/issues/sort.j2"


def test_on_may_be_a_single_event_without_action(tmp_path: Path) -> None:
    library = load(tmp_path, {"issues/all.j2": FRONT.replace("[issues.opened]", "issues") + "x"})
    assert library.prompts["issues/all"].on == ("issues",)
    assert library.on("issues") == ("issues/all",)
    assert library.on("issues.opened") == ()


def test_prompts_of_an_event_exclude_followers(tmp_path: Path) -> None:
    first = FRONT.replace("---\n", "---\nthen: {prompt: issues/b, when: 'true'}\n", 1)
    edited = FRONT.replace("opened", "edited")
    library = load(tmp_path, {"issues/a.j2": first + "x", "issues/b.j2": FRONT + "x", "issues/c.j2": edited + "x"})
    assert library.on("issues.opened") == ("issues/a",)
    assert library.on("issues.edited") == ("issues/c",)
    assert library.on("release.published") == ()


def test_all_prompts_of_an_event_are_returned_if_settings_choose(tmp_path: Path) -> None:
    write(tmp_path, PLAIN | {"issues/other.j2": PLAIN["issues/plain.j2"]})
    library = load_library(tmp_path, families=FAMILIES, chosen=frozenset({"issues.opened"}))
    assert library.on("issues.opened") == ("issues/other", "issues/plain")


def test_shadow_prompt_may_share_an_event_and_runs_for_none(tmp_path: Path) -> None:
    leading = FRONT.replace("---\n", "---\nthen: {prompt: issues/plain, when: 'true'}\n", 1)
    write(tmp_path, PLAIN | {"issues/strict.j2": PLAIN["issues/plain.j2"], "issues/first.j2": leading + "x"})
    library = load_library(tmp_path, families=FAMILIES, shadows=frozenset({"issues/strict", "issues/first"}))
    assert library.on("issues.opened") == ("issues/plain",)


@pytest.mark.parametrize(
    ("reply", "follower"),
    [(ANALYSIS, None), (QUESTION, "issues/respond")],
    ids=["a bug", "a question"],
)
def test_shipped_analysis_is_followed_by_an_answer_only_for_questions(
    reply: IssueAnalysis, follower: str | None
) -> None:
    assert shipped().find_next_prompt("issues/analyze", reply) == follower


def test_last_prompt_of_a_chain_has_no_successor(tmp_path: Path) -> None:
    response = IssueResponse(worth_saying=True, answer="Yes.", certain=True)
    assert shipped().find_next_prompt("issues/respond", response) is None


@pytest.mark.parametrize(
    "change",
    [
        {"issues/plain.j2": FRONT + "Judge {{ issue.title }}!\n{% include '_part.j2' %}"},
        {"issues/plain.j2": FRONT.replace("A test", "Another") + "Judge {{ issue.title }}\n{% include '_part.j2' %}"},
        {"_part.j2": "another part"},
        {"base.j2": BASE.replace("judge", "weigh")},
        {"issues/plain.comment.md.j2": "another comment"},
    ],
    ids=["template", "front matter", "part", "base", "comment"],
)
def test_prompt_id_changes_with_each_of_its_files(tmp_path: Path, change: dict[str, str]) -> None:
    files = {
        "issues/plain.j2": FRONT + "Judge {{ issue.title }}\n{% include '_part.j2' %}",
        "issues/plain.comment.md.j2": "a comment",
        "_part.j2": "a part",
    }
    assert prompt_id(tmp_path / "1", files) != prompt_id(tmp_path / "2", files | change)


def test_prompt_id_does_not_change_with_other_files(tmp_path: Path) -> None:
    other = {"issues/other.j2": FRONT.replace("opened", "edited") + "x", "_unused.j2": "x"}
    assert prompt_id(tmp_path / "1", PLAIN) == prompt_id(tmp_path / "2", PLAIN | other)


def test_template_without_front_matter_uses_shipped_front_matter_and_comment(tmp_path: Path) -> None:
    shipped_folder = write(
        tmp_path / "shipped", PLAIN | {"issues/plain.comment.md.j2": "shipped comment", "issues/b.j2": FRONT}
    )
    own = write(tmp_path / "own", {"issues/plain.j2": "My own words on {{ issue.title }}"})
    library = load_library(own, families=FAMILIES, shipped=shipped_folder)
    assert list(library.prompts) == ["issues/plain"]
    assert library.prompts["issues/plain"].description == "A test"
    assert library.prompts["issues/plain"].has_comment is True


def test_template_with_front_matter_does_not_use_the_shipped_comment(tmp_path: Path) -> None:
    shipped_folder = write(tmp_path / "shipped", PLAIN | {"issues/plain.comment.md.j2": "shipped comment"})
    own = write(tmp_path / "own", {"issues/plain.j2": FRONT + "My own words"})
    assert load_library(own, families=FAMILIES, shipped=shipped_folder).prompts["issues/plain"].has_comment is False


def test_hidden_files_and_other_extensions_are_ignored(tmp_path: Path) -> None:
    files = {".git/issues/x.j2": "{{ broken", "issues/.x.j2.swp": "x", "issues/notes.md": "x", "issues/.y.j2": "{%"}
    assert list(load(tmp_path, PLAIN | files).prompts) == ["issues/plain"]


def test_events_of_the_shipped_library() -> None:
    library: Library = shipped()
    assert {name: prompt.on for name, prompt in library.prompts.items()} == {
        "issues/analyze": ("issues.opened", "issues.reopened", "issues.edited"),
        "issues/respond": (),
        "pull_requests/analyze": (
            "pull_request.opened",
            "pull_request.reopened",
            "pull_request.ready_for_review",
            "pull_request.review_requested",
            "pull_request.synchronize",
            "pull_request.edited",
        ),
        "reviews/analyze": ("pull_request_review.submitted", "pull_request_review.edited"),
        "workflows/analyze": ("workflow_run.completed",),
        "releases/announce": ("release.published",),
        "comments/reply": ("issue_comment.created",),
    }


def test_inherited_prompt_without_predecessor_is_unused_and_no_error(tmp_path: Path) -> None:
    """If the author's version of a prompt has no `then`, the shipped library need not be changed."""
    first = FRONT.replace("---\n", "---\nthen: {prompt: issues/b, when: 'true'}\n", 1)
    follower = FRONT.replace("on: [issues.opened]\n", "")
    write(tmp_path / "theirs", {"base.j2": BASE, "issues/a.j2": first + "x", "issues/b.j2": follower + "x"})
    write(tmp_path / "own", {"issues/a.j2": FRONT + "mine"})
    library = load_library(tmp_path / "own", tmp_path / "theirs", families=FAMILIES)
    assert library.on("issues.opened") == ("issues/a",)
    assert library.prompts["issues/a"].then is None
    with pytest.raises(PromptError, match=r"b\.j2:1: has no event"):
        load(tmp_path / "alone", {"issues/a.j2": FRONT + "mine", "issues/b.j2": follower + "x"})
