"""A generated history of octo/widgets: findings that people dismissed, fixed and accepted, corrected
labels, and reviews.
"""

from __future__ import annotations

import json
from typing import Any

from hls_handler.analysis import DraftedRules, HiddenFindings
from hls_handler.deliveries import Checkpoint, End, Lease
from hls_handler.engine.library import FACTS
from hls_handler.github.labels import LabelOrigin
from hls_handler.handlers.reviews import ReviewHandler
from hls_handler.prompting import recorded
from hls_handler.review.dismissals import COMMAND
from hls_handler.review.record import LedgerEntry, ReviewRecord
from hls_handler.storage import Storage
from hls_handler.store.conversations import ConversationRef
from hls_handler.store.corrections import ShownLabels
from hls_handler.store.reviews import ReviewChange
from tests.queue.builders import begin, open_history

BOT = "hls[bot]"
REVIEW_PROMPT = "pull_requests/analyze@111111"


class RepositoryHistory:
    """Adds what people decided to the database of a service."""

    def __init__(
        self,
        store: Storage,
        repository_id: int = 1,
        name: str = "octo/widgets",
        *,
        first: int = 0,  # number of deliveries that another history stored for the repository
    ) -> None:
        self._store = store
        self._repository: dict[str, Any] = {"repository_id": repository_id, "repository": name}
        self._number = first

    def raise_finding(self, number: int, path: str, title: str, **changes: Any) -> None:
        """Store a finding of pull request `number`, which has no other; `changes` are fields."""
        given = {"severity": "medium", "category": "bugs", "state": "open", **changes}
        entry = LedgerEntry(
            key=f"{number:016}",
            path=path,
            side="RIGHT",
            quote="x",
            title=title,
            prompt_id=REVIEW_PROMPT,
            number=3,
            comment_id=1000 + number,
            raised=1,
            **given,
        )
        lease = self._begin(event="pull_request", number=number)
        ref = ConversationRef(self._repository["repository_id"], BOT, number)
        self._store.checkpoints.save(lease, ReviewChange(ref, ReviewRecord(1, ledger=(entry,))))
        self._end(lease)

    def dismiss(
        self, number: int, path: str, title: str, reason: str, *, is_writer: bool = True
    ) -> None:
        """Store a finding that mona dismissed in its review thread."""
        self._comment("pull_request_review_comment.created", number, reason)
        self.raise_finding(
            number,
            path,
            title,
            state="dismissed",
            dismissals=("reply 1 by mona",),
            dismissed_by="mona",
            has_binding_dismissal=is_writer,
        )

    def dismiss_by_command(self, number: int, path: str, title: str, text: str) -> None:
        """Store a finding that mona dismissed with a command, whose comment is `text`."""
        guid = self._comment("issue_comment.created", number, text)
        self.raise_finding(
            number,
            path,
            title,
            state="dismissed",
            dismissals=(f"{COMMAND}{guid[:8]} by mona",),
            dismissed_by="mona",
            has_binding_dismissal=True,
        )

    def correct(
        self, number: int, title: str, label: str, to: str, *, is_issue: bool = False
    ) -> None:
        """Store that people replaced a label."""
        lease = self._begin(number=number)
        history = open_history(self._store, lease, "hls")
        history.change_labels((label,), "intended", {label: LabelOrigin("type", REVIEW_PROMPT)})
        history.change_labels((label,), "set")
        self._end(lease)
        lease = self._begin(number=number)
        groups = {label: "type", to: "type"}
        shown = ShownLabels((to,), title, not is_issue, groups)
        self._store.corrections.record_change(lease, "hls", "type", shown, at=lease.received_at)
        self._end(lease)

    def review(
        self, number: int, path: str, body: str, *, association: str = "MEMBER", **by: object
    ) -> None:
        """Store a review with one comment on a line."""
        payload = recorded.load("demo/review").payload
        facts = json.loads((FACTS / "pull_request_review.json").read_bytes())["demo/review"]
        payload["review"] |= {"author_association": association, "id": number}
        comment = {**facts["comments"][0], "number": 1, "path": path, "body": body}
        facts["review"] |= {"id": number, "body": ""}
        facts["review"]["user"] |= {"login": "lisa", "id": 77, **by}
        facts["comments"] = [comment]
        lease = self._begin(
            event="pull_request_review", number=number, body=_encode(payload, self._number)
        )
        version = ReviewHandler.facts_version
        self._store.checkpoints.save(lease, Checkpoint("gather", 0, version, json.dumps(facts)))
        self._store.checkpoints.save(lease, Checkpoint("post", 0, 1, "{}"))
        self._end(lease, handler="ReviewHandler")

    def dismiss_without_words(
        self, number: int, path: str, title: str, dismissal: str, *, state: str = "dismissed"
    ) -> None:
        """Store a finding that mona dismissed by `dismissal`, such as "resolved by mona"."""
        self.raise_finding(
            number,
            path,
            title,
            state=state,
            dismissals=(dismissal,),
            dismissed_by="mona",
            has_binding_dismissal=True,
        )

    def reply(self, number: int, text: str, *, action: str = "created", **changes: Any) -> None:
        """Store what mona wrote, edited or deleted in the review thread of a finding."""
        payload = "pull_request_review_comment.created"
        self._comment(payload, number, text, action=action, **changes)

    def comment(self, number: int, text: str) -> None:
        """Store what mona wrote elsewhere, in an issue or a pull request."""
        self._comment("issue_comment.created", number, text, in_reply_to_id=None)

    def _comment(
        self,
        name: str,
        number: int,
        text: str,
        *,
        action: str = "created",
        sender: str = "mona",
        **changes: Any,
    ) -> str:
        payload = recorded.load(name).payload | {"action": action}
        comment = {"body": text, "in_reply_to_id": 1000 + number, "id": 5000 + self._number}
        payload["comment"] |= {**comment, **changes}
        payload["comment"]["user"]["login"] = "mona"
        event = name.partition(".")[0]
        body = _encode(payload, self._number)
        lease = self._begin(event=event, action=action, number=number, sender=sender, body=body)
        self._end(lease)
        return lease.guid

    def _begin(self, **fields: Any) -> Lease:
        self._number += 1
        guid = f"{self._number:08}-{self._repository['repository_id']}"
        return begin(self._store, guid, **self._repository, **fields)

    def _end(self, lease: Lease, handler: str | None = None) -> None:
        self._store.queue.finish(lease, End("done", "", handler=handler), took_s=0)


def _encode(payload: dict[str, Any], number: int) -> bytes:
    return json.dumps({**payload, "unique": number}).encode()


def fill(store: Storage) -> RepositoryHistory:
    """Add 14 cases and 16 findings, of which one is a credential.

    Numbers of the cases: reviews 1 to 3, labels 4 and 5, tests/ 6 and 7, cli/ 8 to 10, api/gen/ 11
    to 14. Numbers of the findings in the question: 1 to 6 are those of pull requests 36 to 31, and
    7 to 15 are the dismissed ones, of 19 to 11.
    """
    history = RepositoryHistory(store)
    for number in (11, 12, 13, 14):
        reason = "Won't fix, protoc generates this file."
        history.dismiss(number, f"api/gen/client{number}.py", "Mutable default", reason)
    for number in (15, 16, 17):
        text = "/dismiss 3\n\nCommands print on purpose."
        history.dismiss_by_command(number, "cli/run.py", "Prints to stdout", text)
    for number in (18, 19):
        history.dismiss(number, "tests/test_a.py", "Magic number", "By design: literals in tests.")
    history.correct(20, "Fix a typo", "type/feature", "type/docs")
    history.correct(21, "Fix a link", "type/feature", "type/docs")
    for number in (22, 23, 24):
        history.review(number, "docs/setup.md", "Name the command, not the program.")
    history.raise_finding(31, "cli/run.py", "Swallows the error", state="fixed")
    history.raise_finding(32, "tests/test_b.py", "Asserts nothing", is_accepted=True)
    history.raise_finding(33, "api/server.py", "Leaks a socket", severity="high")
    history.raise_finding(34, "api/server.py", "Loses the lock", severity="critical", state="fixed")
    history.raise_finding(35, "docs/setup.md", "Dead link", severity="low", state="gone")
    history.raise_finding(36, "cli/run.py", "No exit code", severity="low")
    history.raise_finding(37, "api/gen/a.py", "Key", form="github-token", severity="critical")
    return history


def rule(text: str, cases: list[int], *globs: str) -> dict[str, object]:
    return {"globs": list(globs), "text": text, "cases": cases}


def draft(*rules: dict[str, object]) -> DraftedRules:
    return DraftedRules.model_validate({"rules": rules})


def hide(*findings: list[int]) -> HiddenFindings:
    """Return what each rule would have hidden, by the numbers of the findings in the question."""
    hidden = [{"rule": number, "findings": one} for number, one in enumerate(findings, start=1)]
    return HiddenFindings.model_validate({"hidden": hidden})
