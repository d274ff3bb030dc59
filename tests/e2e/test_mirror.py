"""Reviews with a mirror of the repository, from the webhook to the check."""

from __future__ import annotations

import copy
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.reports.delivery_report import load_report
from tests.e2e.conftest import MakeService
from tests.e2e.service import Service
from tests.github_fake.server import Sandbox

REPOSITORY = "Codertocat/Hello-World"
OPENED = recorded.load("pull_request.opened")
TAX = "def tax(price, rate):\n    return price * rate\n"
FILES = {
    "tax.py": TAX,
    "shop.py": "from tax import tax\n\n\ndef total(price):\n    return price + tax(price)\n",
}
PATCH = (
    "@@ -1,2 +1,2 @@\n-def tax(price):\n-    return price\n+def tax(price, rate):\n+    return"
    " price * rate"
)
NUMBER: int = OPENED.payload["pull_request"]["number"]
CHANGED = [
    {"filename": "tax.py", "status": "modified", "additions": 2, "deletions": 2, "patch": PATCH}
]


def test_a_caller_that_the_patch_does_not_show_is_shown_and_named_in_the_check(
    make_service: MakeService, sandbox: Sandbox, tmp_path: Path
) -> None:
    def review(service: Service, sandbox: Sandbox, head: str) -> tuple[str, str]:
        """Deliver a pull request that changes tax.py; return what Claude was asked, and what it got
        besides.
        """
        payload: dict[str, Any] = copy.deepcopy(dict(OPENED.payload))
        payload["pull_request"] |= {"changed_files": 1, "additions": 2, "deletions": 2}
        payload["pull_request"]["head"]["sha"] = head
        sandbox.state.seed("pull_request", payload, files=CHANGED)
        sandbox.requests.clear()
        service.deliver("pull_request", recorded.unique(json.dumps(payload).encode()))
        service.until_idle()
        asked = [one.body for one in sandbox.requests.all("claude") if one.body]
        with closing(service.open_store()) as store:
            row = store.deliveries.of_conversation(REPOSITORY, NUMBER)[-1]
            return json.dumps(asked[0]), load_report(store, row).context or ""

    service = make_service(mirror=f"directory: {tmp_path}/mirror").start()
    prompt, context = review(service, sandbox, sandbox.git.commit(REPOSITORY, FILES))
    assert "call of " in prompt
    assert "return price + tax(price)" in prompt
    assert "1 call (about " in context


def test_cherry_pick_of_a_merged_pull_request_is_computed_in_the_mirror(
    make_service: MakeService, sandbox: Sandbox, tmp_path: Path
) -> None:
    def command(
        service: Service, sandbox: Sandbox, payload: dict[str, Any], number: int, text: str
    ) -> str:
        """Deliver the comment `number` on the pull request; return our comment."""
        author = {"login": "mona", "id": 4711, "type": "User"}
        event = {
            "action": "created",
            "repository": payload["repository"],
            "sender": author,
            "issue": {
                "number": NUMBER,
                "title": "Tax",
                "user": author,
                "pull_request": {"url": "x"},
            },
            "comment": {"id": number, "body": text, "user": author},
        }
        service.deliver("issue_comment", json.dumps(event).encode(), guid=f"command-{number}")
        service.until_idle()
        return sandbox.conversation(NUMBER).comments[-1].body

    more = "features: {cherry_pick: true}"
    service = make_service(mirror=f"directory: {tmp_path}/mirror", more=more).start()
    base = sandbox.git.commit(REPOSITORY, {"tax.py": "a\nb\nc\nd\ne\n"})
    merge = sandbox.git.commit(REPOSITORY, {"tax.py": "a\nb\nc\nd\nE\n"}, parent=base)
    payload: dict[str, Any] = copy.deepcopy(dict(OPENED.payload))
    payload["pull_request"] |= {
        "state": "closed",
        "merged": True,
        "merge_commit_sha": merge,
        "commits": 1,
    }
    sandbox.state.seed("pull_request", payload)
    sandbox.state.set_permission(REPOSITORY, "mona", "write")

    def pick(number: int, text: str) -> str:
        """Pick the pull request onto a branch with this text; return our comment."""
        sandbox.git.commit(REPOSITORY, {"tax.py": text})
        return command(service, sandbox, payload, number, "/cherry-pick main")

    assert pick(80, "A\nb\nc\nd\ne\n").startswith("This applies cleanly to `main`.\n")
    conflicting = pick(81, "a\nb\nc\nd\nf\n")
    assert conflicting.startswith(
        "This conflicts with `main`:\n\n- `tax.py`: no suggestion, Claude did not resolve"
    )
    assert f"\ngit cherry-pick -x {merge}\n" in conflicting
    assert (
        sum(request.path.endswith("/messages") for request in sandbox.requests.all("claude")) == 1
    )
