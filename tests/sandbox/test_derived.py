"""Derived payloads (the story of the demo) are consistent, and every change to a recorded one is listed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from hls_handler.events import WorkflowRun, parse_event
from hls_handler.prompting import recorded
from hls_handler.prompting.recorded import DERIVED, PAYLOADS, STORY
from hls_handler.review.patches import parse_patch
from hls_handler.sandbox import derived

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


RUNS = ["demo/tests-failed", "demo/lint-failed", "demo/tests-passed", "demo/main-failed"]


def run_of(name: str) -> WorkflowRun:
    run = parse_event("workflow_run", "guid", recorded.load(name).body).workflow_run
    assert run is not None
    return run


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
