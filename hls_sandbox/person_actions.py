"""Actions of a person on the stand-in GitHub: each changes the state and returns the webhook that
GitHub would send.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from hls_sandbox import shapes
from hls_sandbox.derived import load_canned
from hls_sandbox.objects import (
    Account,
    Attempt,
    Conversation,
    Document,
    Job,
    Repository,
    Run,
    read_account,
)
from hls_sandbox.seeding_repository import generate_jobs
from hls_sandbox.state import State, now_utc
from hls_sandbox.world import World

PushName = Literal["fix", "cosmetic", "fault"]
Conclusion = Literal["success", "failure"]


MAX_TITLE_CHARACTERS = 256  # as at GitHub


class Webhook(NamedTuple):
    event: str
    payload: Document


def open_issue(state: State, home: Repository, by: Account, title: str, body: str) -> Webhook:
    """Create an issue with the next free number."""
    numbers = [one.number for one in state.conversations() if one.repository == home.full_name]
    now = shapes.stamp(now_utc())
    issue = {
        "number": max(numbers, default=0) + 1,
        "title": title,
        "body": body,
        "user": shapes.account(by),
        "created_at": now,
        "updated_at": now,
        "author_association": "NONE",
    }
    payload = {"action": "opened", "issue": issue, **_common(home, by)}
    conversation = state.seed("issues", payload)
    assert conversation is not None
    return Webhook("issues", {**payload, "issue": shapes.issue(conversation, home)})


def comment(
    state: State, home: Repository, conversation: Conversation, by: Account, body: str
) -> Webhook:
    made = state.create_comment(conversation, body, by=by)
    payload = {
        "action": "created",
        "issue": shapes.issue(conversation, home),
        "comment": shapes.comment(conversation, made),
        **_common(home, by),
    }
    return Webhook("issue_comment", payload)


# --- pushes to the demo's pull request
# ----------------------------------------------------------------------


def list_pushes(pull: Conversation) -> list[PushName]:
    """Return the prepared changes that would change the files of the pull request."""
    patches = [file.get("patch") for file in pull.files]
    return [
        name
        for name in load_canned()["pushes"]
        if patches != [file.get("patch") for file in _edit_files(pull, name)]
    ]


def push(state: State, home: Repository, pull: Conversation, name: PushName) -> Webhook:
    """Push a prepared change as the author of the pull request."""
    head = pull.document["head"]
    sha = hashlib.sha1(f"{pull.head_sha} {name}".encode(), usedforsecurity=False).hexdigest()
    changed = {
        **pull.document,
        "head": {**head, "sha": sha},
        "commits": pull.document.get("commits", 0) + 1,
        "updated_at": shapes.stamp(now_utc()),
    }
    payload = {
        "action": "synchronize",
        "number": pull.number,
        "before": pull.head_sha,
        "after": sha,
        "pull_request": changed,
        **_common(home, pull.author),
    }
    pushed = state.seed("pull_request", payload, files=_edit_files(pull, name))
    assert pushed is not None
    return Webhook("pull_request", {**payload, "pull_request": shapes.pull_request(pushed, home)})


def _edit_files(pull: Conversation, name: PushName) -> list[Document]:
    return [_edit(file, name) for file in pull.files]


def _edit(file: Document, name: PushName) -> Document:
    before = str(file.get("patch") or "")
    patch = before
    for old, new in load_canned()["pushes"][name]:
        patch = patch.replace(old, new)
    kept = file
    if file["status"] != "removed":  # the addresses of the others name the earlier commit
        kept = {key: value for key, value in file.items() if not key.endswith("_url")}
    if patch == before:
        return kept
    lines = patch.split("\n")
    return {
        **kept,
        "sha": hashlib.sha1(patch.encode(), usedforsecurity=False).hexdigest(),
        "additions": sum(line.startswith("+") for line in lines),
        "deletions": sum(line.startswith("-") for line in lines),
        "patch": patch,
    }


# --- workflow runs
# ----------------------------------------------------------------------


def rerun(
    state: State, home: Repository, run: Run, conclusion: Conclusion, *, pull: Conversation | None
) -> Webhook:
    """Add an attempt to a workflow run, which ends at once with the conclusion.

    If the pull request has a newer commit than the run, a new run of the workflow is added.
    """
    now = shapes.stamp(now_utc())
    last = run.last.document
    actor = read_account(last.get("triggering_actor") or last.get("actor"))
    document = {
        **last,
        "run_attempt": run.last.number + 1,
        "status": "completed",
        "conclusion": conclusion,
        "run_started_at": now,
        "updated_at": now,
    }
    if pull is not None and pull.head_sha != last.get("head_sha"):
        document |= {
            "id": state.world.next_id,
            "run_attempt": 1,
            "run_number": last["run_number"] + 1,
            "head_sha": pull.head_sha,
            "created_at": now,
        }

    def add_attempt(world: World) -> World:
        first_job = world.next_id + 1
        jobs = _jobs(run, document, first_job)
        attempt = Attempt(document["run_attempt"], document, jobs)
        changed = Run(run.repository, document["id"], (attempt,))
        if document["id"] == run.id:
            changed = replace(run, attempts=(*run.attempts, attempt))
        return replace(world.with_run(changed), next_id=first_job + len(jobs))

    state.change(add_attempt)
    payload = {"action": "completed", "workflow_run": document, **_common(home, actor)}
    return Webhook("workflow_run", payload)


def _jobs(run: Run, document: Document, first_id: int) -> tuple[Job, ...]:
    """Return the jobs of the last attempt with the same conclusion, with new ids."""
    number = document["run_attempt"]
    similar = [one for one in run.attempts if one.conclusion == document["conclusion"]]
    if not similar:
        return generate_jobs(document, number, now_utc())
    common = {"run_id": document["id"], "run_attempt": number, "head_sha": document["head_sha"]}
    return tuple(
        replace(job, document={**job.document, **common, "id": first_id + place})
        for place, job in enumerate(similar[-1].jobs)
    )


def _common(home: Repository, sender: Account) -> dict[str, Any]:
    return {"repository": home.document, "sender": shapes.account(sender)}
