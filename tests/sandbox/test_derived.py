"""Derived payloads (the story of the demo) are consistent, and every change to a recorded one is listed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from pydantic import TypeAdapter

from hls_handler.events import Comment, Release, WorkflowRun, parse_event
from hls_handler.prompting import recorded
from hls_handler.prompting.recorded import DERIVED, PAYLOADS, STORY
from hls_handler.review.patches import parse_patch
from hls_handler.routing import parse_envelope
from hls_handler.sandbox import derived
from hls_handler.sandbox.state import State

CHANGES = (PAYLOADS / "CHANGES.md").read_text()
ABSENT = object()


def diff_prompts(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Return the paths of different values; a replaced account or repository is one value."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        if old != new:
            yield path
        return
    if any(old.get(name) != new.get(name) for name in ("login", "full_name") if name in old and name in new):
        yield path
        return
    for key in {**old, **new}:
        yield from diff_prompts(old.get(key, ABSENT), new.get(key, ABSENT), f"{path}.{key}" if path else key)


@pytest.mark.parametrize("name", DERIVED)
def test_every_change_of_a_derived_payload_is_listed(name: str) -> None:
    payload = recorded.load(name)
    section = CHANGES.split(f"## derived/{payload.event}/{name.removeprefix('demo/')}.json\n")[1].split("\n## ")[0]
    source = re.search(r"From `(recorded/.*?)`", section)
    assert source is not None
    listed = set(re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE))
    original = json.loads((PAYLOADS / source[1]).read_bytes())
    assert set(diff_prompts(original, payload.payload)) == listed


@pytest.mark.parametrize("name", STORY)
def test_derived_payloads_can_be_parsed(name: str) -> None:
    one = recorded.load(name)
    event = parse_event(one.event, "guid", one.body)
    assert event.repository.full_name == "Codertocat/Hello-World"
    assert event.repository.id == 186853002
    assert event.sender.login in ("Codertocat", "octocat", "monalisa")
    if event.conversation is not None:
        assert event.conversation.user.login == "octocat"
        assert event.conversation.labels == ()


def test_edited_payloads_contain_the_old_values() -> None:
    retitled, edited = recorded.load("demo/feature-retitled"), recorded.load("demo/bug-edited")
    assert (parse_envelope(retitled.body).changes or {}).keys() == {"title"}
    assert (parse_envelope(edited.body).changes or {}).keys() == {"title", "body"}
    opened: Any = recorded.load("demo/bug").payload
    changes: Any = edited.payload["changes"]
    assert changes == {"title": {"from": opened["issue"]["title"]}, "body": {"from": opened["issue"]["body"]}}


def test_the_push_has_the_first_head_as_before() -> None:
    opened: Any = recorded.load("demo/feature").payload
    pushed: Any = recorded.load("demo/feature-push").payload
    retitled: Any = recorded.load("demo/feature-retitled").payload
    assert pushed["action"] == "synchronize"
    assert pushed["before"] == opened["pull_request"]["head"]["sha"] != pushed["after"]
    assert pushed["after"] == pushed["pull_request"]["head"]["sha"] == retitled["pull_request"]["head"]["sha"]


@pytest.mark.parametrize("name", ["demo/feature", "demo/feature-push"])
def test_totals_of_the_pull_request_match_its_files(name: str) -> None:
    pull: Any = recorded.load(name).payload["pull_request"]
    files: Any = derived.files_at(pull["head"]["sha"])
    assert pull["changed_files"] == len(files)
    assert pull["additions"] == sum(file["additions"] for file in files)
    assert pull["deletions"] == sum(file["deletions"] for file in files)
    for file in files:
        marks = [line.mark for hunk in parse_patch(file.get("patch", "")).hunks for line in hunk.lines]
        assert (marks.count("+"), marks.count("-")) == (file["additions"], file["deletions"]), file["filename"]


def test_the_diff_has_every_kind_of_file() -> None:
    files: Any = derived.files_at(str(recorded.load("demo/feature-push").payload["after"]))
    kinds = {(file["status"], "patch" in file) for file in files}
    assert kinds == {("added", True), ("added", False), ("modified", True), ("removed", True), ("renamed", False)}
    assert [file["previous_filename"] for file in files if file["status"] == "renamed"] == ["shop/price_utils.py"]


@pytest.mark.parametrize(
    ("name", "state"), [("demo/review", "changes_requested"), ("demo/review-approved", "approved")]
)
def test_reviews_are_by_another_account_for_the_current_head(name: str, state: str) -> None:
    one = recorded.load(name)
    event = parse_event(one.event, "guid", one.body)
    assert event.key == "pull_request_review.submitted"
    assert event.review is not None
    assert event.pull_request is not None
    assert (event.review.state, event.review.user.login, event.sender.login) == (state, "Codertocat", "Codertocat")
    assert (event.pull_request.number, event.pull_request.user.login) == (13, "octocat")
    assert event.review.commit_id == event.pull_request.head_sha == recorded.load("demo/feature-push").payload["after"]


def test_reviews_show_the_same_pull_request() -> None:
    retitled: Any = recorded.load("demo/feature-retitled").payload
    for name in ("demo/review", "demo/review-approved"):
        shown: Any = recorded.load(name).payload
        for key in ("id", "number", "title", "body", "head", "user", "state", "locked"):
            assert shown["pull_request"][key] == retitled["pull_request"][key]


def test_review_comments_refer_to_lines_of_the_patches() -> None:
    files: Any = derived.files_at(str(recorded.load("demo/feature-push").payload["after"]))
    patches = {file["filename"]: file.get("patch", "") for file in files}
    comments: Any = derived.review_comments_of(2304417713)
    stands = []
    for comment in comments:
        assert comment["diff_hunk"] in patches[comment["path"]]
        hunk = parse_patch(comment["diff_hunk"]).hunks[-1]
        assert hunk.lines == parse_patch(patches[comment["path"]]).hunks[-1].lines[: len(hunk.lines)]
        last = hunk.lines[-1]
        assert (comment.get("line", last.number), comment.get("side", last.side)) == (last.number, last.side)
        assert patches[comment["path"]].split("\n")[comment["position"]] == f"{last.mark}{last.text}"
        stands.append((comment["path"], last.side, last.number, "line" in comment))
    assert stands == [
        ("shop/checkout.py", "LEFT", 32, True),
        ("shop/discounts.py", "RIGHT", 36, True),
        ("web/cart.js", "RIGHT", 12, False),
    ]


def test_review_and_comments_have_one_author_and_one_commit() -> None:
    review: Any = recorded.load("demo/review").payload["review"]
    comments: Any = derived.review_comments_of(review["id"])
    assert {(comment["user"]["login"], comment["commit_id"]) for comment in comments} == {
        ("Codertocat", review["commit_id"])
    }


RUNS = ["demo/tests-failed", "demo/lint-failed", "demo/tests-passed", "demo/main-failed"]


def run_of(name: str) -> WorkflowRun:
    run = parse_event("workflow_run", "guid", recorded.load(name).body).workflow_run
    assert run is not None
    return run


def test_runs_of_the_fork_have_its_head_and_no_pull_requests() -> None:
    pushed: Any = recorded.load("demo/feature-push").payload
    head = pushed["pull_request"]["head"]
    for name in RUNS[:3]:
        run = run_of(name)
        assert run.head_sha == pushed["after"]
        assert f"{run.head_owner}:{run.head_branch}" == head["label"] == "octocat:discount-codes"
        assert run.head_repository == head["repo"]["full_name"]
        assert (run.event, run.pull_request_numbers) == ("pull_request", ())


def test_two_workflows_fail_and_one_passes_in_its_second_attempt() -> None:
    failed, lint, passed = (run_of(name) for name in RUNS[:3])
    assert (failed.conclusion, lint.conclusion, passed.conclusion) == ("failure", "failure", "success")
    assert (failed.id, failed.workflow_id, failed.run_attempt) == (passed.id, passed.workflow_id, 1)
    assert passed.run_attempt == 2
    assert (passed.actor.login, passed.triggering_actor.login) == ("octocat", "Codertocat")
    assert lint.workflow_id != failed.workflow_id


def test_the_run_on_the_default_branch_has_the_pushed_commit() -> None:
    push: Any = recorded.load("demo/push").payload
    run = run_of("demo/main-failed")
    assert (run.head_sha, run.head_branch, run.event) == (push["after"], "master", "push")
    assert (run.head_repository, run.pull_request_numbers) == ("Codertocat/Hello-World", ())


@pytest.mark.parametrize("name", RUNS)
def test_jobs_match_their_run_and_logs_match_their_steps(name: str) -> None:
    run = run_of(name)
    jobs: Any = derived.jobs_of(run.id, run.run_attempt)
    ends = {job["conclusion"] for job in jobs}
    assert ("failure" if "failure" in ends else "success") == run.conclusion
    for job in jobs:
        assert (job["head_sha"], job["head_branch"], job["workflow_name"]) == (run.head_sha, run.head_branch, run.name)
        lines = (derived.log_of(job["id"]) or "").removesuffix("\n").split("\n")
        times = [datetime.fromisoformat(line[:26] + "+00:00") for line in lines]
        assert times == sorted(times)
        for step in job["steps"]:
            begun, ended = (datetime.fromisoformat(step[key]) for key in ("started_at", "completed_at"))
            said = [line for line, at in zip(lines, times, strict=True) if begun <= at < ended]
            assert any("##[error]" in line for line in said) == (step["conclusion"] == "failure")


def test_failed_tests_refer_to_lines_of_the_pull_request() -> None:
    files: Any = derived.files_at(run_of("demo/tests-failed").head_sha)
    patches = {file["filename"]: file.get("patch", "") for file in files}
    log = derived.log_of(54110020701) or ""
    for number in re.findall(r"tests/test_discounts\.py:(\d+): AssertionError", log):
        line = patches["tests/test_discounts.py"].split("\n")[int(number)]
        assert f">       {line[1:].strip()}" in log
    assert patches["shop/discounts.py"].split("\n")[20] == "+    return row.expires_at > datetime.now()"
    assert "--> shop/discounts.py:20:29" in (derived.log_of(54110020688) or "")


def test_the_release_follows_a_prerelease_and_has_commits() -> None:
    payload: Any = recorded.load("demo/release").payload
    release = TypeAdapter(Release).validate_python(payload["release"])
    assert (release.tag, release.draft, release.prerelease, release.author.login) == (
        "v4.3.0",
        False,
        False,
        "Codertocat",
    )
    history = derived.history_of(release.id)
    tags: Any = {tag: place for place, commit in enumerate(history) for tag in commit.get("tags", ())}  # type: ignore[attr-defined]
    assert tags == {"v4.1.0": 0, "v4.2.0": 3, "v4.3.0-rc.1": 9, "v4.3.0": 10}
    assert [earlier["prerelease"] for earlier in derived.releases_before(release.id)] == [False, False, True]
    assert recorded.load("demo/push").payload["before"] == history[-1]["sha"]


@pytest.mark.parametrize(
    ("name", "number", "by", "on_a_pull_request", "begins"),
    [
        ("demo/hint", 11, "Codertocat", False, "It is `total()` in `shop/checkout.py`"),
        ("demo/first-contribution", 11, "monalisa", False, "Hi! I have used the shop for a while and would like"),
        ("demo/mention", 13, "Codertocat", True, "@hls-bot Is the discount taken off before or after tax"),
    ],
)
def test_comments_belong_to_recorded_conversations(
    name: str, number: int, by: str, on_a_pull_request: bool, begins: str
) -> None:
    one = recorded.load(name)
    payload: Any = one.payload
    comment = TypeAdapter(Comment).validate_python(payload["comment"])
    assert one.key == "issue_comment.created"
    assert (payload["issue"]["number"], comment.user.login, payload["sender"]["login"]) == (number, by, by)
    assert ("pull_request" in payload["issue"]) is on_a_pull_request
    assert comment.body.startswith(begins)
    assert comment.html_url.endswith(f"/{number}#issuecomment-{comment.id}")


def test_comments_do_not_change_their_issue() -> None:
    state = State()
    for name in DERIVED:
        one = recorded.load(name)
        state.seed(one.event, one.payload)
    bug, feature = state.conversation("Codertocat/Hello-World", 11), state.conversation("Codertocat/Hello-World", 13)
    assert bug is not None
    assert feature is not None
    assert [event.kind for event in bug.events] == ["renamed"]
    assert [event.kind for event in feature.events] == ["pushed", "renamed", "reviewed", "reviewed"]
    assert (len(bug.comments), len(feature.comments)) == (2, 1)
