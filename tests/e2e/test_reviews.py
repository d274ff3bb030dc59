"""Reviews: one comment with a section for each reviewer, and a status label."""

from __future__ import annotations

import json
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.sandbox.objects import Comment, Conversation
from hls_handler.sandbox.server import Sandbox
from tests.e2e.service import Service
from tests.e2e.test_main_job import FEATURE, REPOSITORY, send

ZOE = {"login": "zoe", "id": 4711, "type": "User"}


def pull(sandbox: Sandbox) -> Conversation:
    found = sandbox.state.conversation(REPOSITORY, FEATURE)
    assert found is not None
    return found


def checklist(sandbox: Sandbox) -> Comment:
    (found,) = [comment for comment in pull(sandbox).comments if comment.body.endswith("<!-- hls:reviews -->")]
    return found


def review_by_zoe(service: Service, sandbox: Sandbox, body: str, *, state: str, id: int) -> None:  # noqa: A002
    payload: dict[str, Any] = recorded.load("demo/review").payload
    payload["review"] |= {"id": id, "user": ZOE, "body": body, "state": state}
    payload["sender"] = ZOE
    sandbox.state.seed("pull_request_review", payload)
    assert service.deliver("pull_request_review", json.dumps(payload).encode()).status == 202
    service.until_idle()


def test_a_review_becomes_a_checklist_and_a_status_label(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature-push")
    send(service, sandbox, "demo/review")
    assert "status/needs-changes" in pull(sandbox).labels
    body = checklist(sandbox).body
    assert "**Review by `Codertocat`**, of commit d7a6e5f7fd" in body
    assert (
        "- [ ] **Needed:** It must be `for code in codes:`, and needs a test. ([`shop/discounts.py`, line 36](http"
        in body
    )
    assert "/Codertocat/Hello-World/blob/d7a6e5f7" in body
    assert "`shop/checkout.py`, removed line 32" in body
    assert "reviews/analyze@" not in body
    assert len(pull(sandbox).comments) == 2  # the other is about the pull request itself


def test_each_reviewer_has_a_section_and_checked_boxes_stay_checked(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature-push")
    send(service, sandbox, "demo/review")
    before = checklist(sandbox)
    checked = before.body.replace("- [ ] **Needed:** It must be", "- [x] **Needed:** It must be")
    sandbox.state.edit_comment(pull(sandbox), before, checked)
    review_by_zoe(service, sandbox, "Please add a note to the changelog.", state="changes_requested", id=77)
    both = checklist(sandbox)
    assert both.id == before.id
    assert [part for part in ("Codertocat", "zoe") if f"**Review by `{part}`**" in both.body] == ["Codertocat", "zoe"]
    assert "- [x] **Needed:** It must be" in both.body
    assert both.body.count("Automatic comment by HLS") == 1

    send(service, sandbox, "demo/review-approved")
    after = checklist(sandbox)
    assert "It must be" not in after.body
    assert "**Review by `Codertocat`**" not in after.body
    assert "Please add a note" in after.body
    assert "status/needs-changes" in pull(sandbox).labels  # zoe has not changed her mind

    claude_before = len(sandbox.requests.all("claude"))
    review_by_zoe(service, sandbox, "", state="approved", id=78)
    assert len(sandbox.requests.all("claude")) == claude_before  # there was nothing to read
    assert checklist(sandbox).body.startswith(
        "*There is nothing to report here any more.*\n\n<!-- hls:sections end -->"
    )
    assert not [label for label in pull(sandbox).labels if label.startswith("status/")]


def test_an_unchanged_review_changes_nothing(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature-push")
    send(service, sandbox, "demo/review")
    before = pull(sandbox)
    sandbox.state.edit_comment(before, checklist(sandbox), checklist(sandbox).body.replace("- [ ]", "- [x]"))
    checked = pull(sandbox)
    payload: dict[str, Any] = recorded.load("demo/review").payload
    payload |= {"action": "edited", "changes": {"body": {"from": "x"}}}
    assert service.deliver("pull_request_review", json.dumps(payload).encode()).status == 202
    service.until_idle()
    assert pull(sandbox).comments == checked.comments


def test_a_review_before_a_push_stays_in_the_checklist(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature")
    send(service, sandbox, "demo/review")
    send(service, sandbox, "demo/feature-push")
    assert "**Review by `Codertocat`**" in checklist(sandbox).body
