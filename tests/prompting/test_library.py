"""A loaded library: what each prompt is, which events it is for, and what leads to what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hls_handler.analysis import IssueAnalysis, IssueResponse
from hls_handler.errors import PromptError
from hls_handler.prompting.library import Library, Prompt, Then, load_library
from tests.prompting.samples import ANALYSIS, BASE, FAMILIES, FRONT, PLAIN, load, shipped, write

QUESTION = ANALYSIS.model_copy(update={"kind": "question"})


def identity(folder: Path, files: dict[str, str], name: str = "issues/plain") -> str:
    return load(folder, files).prompts[name].id


def test_a_prompt_is_what_its_front_matter_says(tmp_path: Path) -> None:
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


def test_an_event_may_stand_alone_and_without_a_list(tmp_path: Path) -> None:
    library = load(tmp_path, {"issues/all.j2": FRONT.replace("[issues.opened]", "issues") + "x"})
    assert library.prompts["issues/all"].on == ("issues",)
    assert library.on("issues") == ("issues/all",)
    assert library.on("issues.opened") == ()


def test_an_event_leads_to_its_prompts_but_not_to_those_that_another_leads_to(tmp_path: Path) -> None:
    first = FRONT.replace("---\n", "---\nthen: {prompt: issues/b, when: 'true'}\n", 1)
    edited = FRONT.replace("opened", "edited")
    library = load(tmp_path, {"issues/a.j2": first + "x", "issues/b.j2": FRONT + "x", "issues/c.j2": edited + "x"})
    assert library.on("issues.opened") == ("issues/a",)
    assert library.on("issues.edited") == ("issues/c",)
    assert library.on("release.published") == ()


def test_events_for_which_settings_choose_name_all_their_prompts(tmp_path: Path) -> None:
    write(tmp_path, PLAIN | {"issues/other.j2": PLAIN["issues/plain.j2"]})
    library = load_library(tmp_path, families=FAMILIES, chosen=frozenset({"issues.opened"}))
    assert library.on("issues.opened") == ("issues/other", "issues/plain")


def test_a_mere_shadow_may_share_an_event_and_goes_to_work_on_none(tmp_path: Path) -> None:
    leading = FRONT.replace("---\n", "---\nthen: {prompt: issues/plain, when: 'true'}\n", 1)
    write(tmp_path, PLAIN | {"issues/strict.j2": PLAIN["issues/plain.j2"], "issues/first.j2": leading + "x"})
    library = load_library(tmp_path, families=FAMILIES, shadows=frozenset({"issues/strict", "issues/first"}))
    assert library.on("issues.opened") == ("issues/plain",)


@pytest.mark.parametrize(
    ("reply", "follower"),
    [(ANALYSIS, None), (QUESTION, "issues/respond")],
    ids=["a bug", "a question"],
)
def test_the_shipped_analysis_leads_to_an_answer_for_questions(reply: IssueAnalysis, follower: str | None) -> None:
    assert shipped().next_after("issues/analyze", reply) == follower


def test_a_chain_ends(tmp_path: Path) -> None:
    response = IssueResponse(worth_saying=True, answer="Yes.", certain=True)
    assert shipped().next_after("issues/respond", response) is None


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
def test_a_prompts_id_changes_with_everything_it_is_made_of(tmp_path: Path, change: dict[str, str]) -> None:
    files = {
        "issues/plain.j2": FRONT + "Judge {{ issue.title }}\n{% include '_part.j2' %}",
        "issues/plain.comment.md.j2": "a comment",
        "_part.j2": "a part",
    }
    assert identity(tmp_path / "1", files) != identity(tmp_path / "2", files | change)


def test_a_prompts_id_does_not_change_with_anything_else(tmp_path: Path) -> None:
    other = {"issues/other.j2": FRONT.replace("opened", "edited") + "x", "_unused.j2": "x"}
    assert identity(tmp_path / "1", PLAIN) == identity(tmp_path / "2", PLAIN | other)


def test_a_template_without_front_matter_takes_that_of_the_shipped_prompt_and_its_comment(tmp_path: Path) -> None:
    ships = write(tmp_path / "shipped", PLAIN | {"issues/plain.comment.md.j2": "shipped comment", "issues/b.j2": FRONT})
    own = write(tmp_path / "own", {"issues/plain.j2": "My own words on {{ issue.title }}"})
    library = load_library(own, families=FAMILIES, shipped=ships)
    assert list(library.prompts) == ["issues/plain"]
    assert library.prompts["issues/plain"].description == "A test"
    assert library.prompts["issues/plain"].has_comment is True


def test_a_template_with_front_matter_of_its_own_takes_no_shipped_comment(tmp_path: Path) -> None:
    ships = write(tmp_path / "shipped", PLAIN | {"issues/plain.comment.md.j2": "shipped comment"})
    own = write(tmp_path / "own", {"issues/plain.j2": FRONT + "My own words"})
    assert load_library(own, families=FAMILIES, shipped=ships).prompts["issues/plain"].has_comment is False


def test_hidden_files_and_other_endings_are_no_part_of_a_library(tmp_path: Path) -> None:
    files = {".git/issues/x.j2": "{{ broken", "issues/.x.j2.swp": "x", "issues/notes.md": "x", "issues/.y.j2": "{%"}
    assert list(load(tmp_path, PLAIN | files).prompts) == ["issues/plain"]


def test_the_shipped_library_is_for_these_events() -> None:
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


def test_a_prompt_of_a_later_folder_that_nothing_leads_to_any_more_stays_unused(tmp_path: Path) -> None:
    """An author whose own prompt has no `then` need not mend the shipped library for it."""
    first = FRONT.replace("---\n", "---\nthen: {prompt: issues/b, when: 'true'}\n", 1)
    follower = FRONT.replace("on: [issues.opened]\n", "")
    write(tmp_path / "theirs", {"base.j2": BASE, "issues/a.j2": first + "x", "issues/b.j2": follower + "x"})
    write(tmp_path / "own", {"issues/a.j2": FRONT + "mine"})
    library = load_library(tmp_path / "own", tmp_path / "theirs", families=FAMILIES)
    assert library.on("issues.opened") == ("issues/a",)
    assert library.prompts["issues/a"].then is None
    with pytest.raises(PromptError, match=r"b\.j2:1: is for no event"):
        load(tmp_path / "alone", {"issues/a.j2": FRONT + "mine", "issues/b.j2": follower + "x"})
