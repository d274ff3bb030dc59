"""A review after the database was lost: what GitHub shows is neither posted nor dismissed again."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.github.values import ThreadReply
from hls_handler.review.record import NO_REVIEW, dump_entry, parse_record
from tests.review.pushes import Pushes, found

BASE = "def run(x):\n    a = 1\n    b = 2\n    return a\n"
FAULT = BASE.replace("    b = 2\n", "    b = 2\n    y = eval(x)\n")
EVAL = found("a.py", 4, "    y = eval(x)")


def lose(**acts: Any) -> Pushes:
    """Raise a finding, let people act in its thread, and lose the database."""
    pushes = Pushes(base={"a.py": BASE}, writers=("mona", "bob"))
    assert pushes.push({"a.py": FAULT}, findings=[EVAL]) == "failure"
    pushes.act(**acts)
    pushes.record = NO_REVIEW
    return pushes


def said(*replies: str) -> dict[str, Any]:
    """Replies such as "mona: Won't fix."."""
    parts = [one.partition(": ") for one in replies]
    return {"replies": tuple(ThreadReply(author, text) for author, _, text in parts)}


@pytest.mark.parametrize(
    ("acts", "conclusion"),
    [
        ({}, "failure"),
        (said("mona: /dismiss"), "success"),
        (said("mona: /dismiss because only tests call it"), "success"),
        (said("mona: Won't fix."), "success"),
        ({"is_resolved": True, "resolved_by": "mona"}, "success"),
        ({"is_resolved": True, "resolved_by": "mallory"}, "failure"),
        (said("mallory: /dismiss"), "failure"),
        (said("mona: /dismiss 2"), "failure"),  # it may be the number of another finding
        (said("mona: /dismiss: 2"), "failure"),
        (said("mona: /dismiss?"), "failure"),  # no command
        (said("mona: @other /dismiss"), "failure"),
        (said("mona: /dismiss", "mona: /undismiss"), "failure"),
        (said("mona: /undismiss", "mona: /dismiss"), "success"),
        (said("mona: /dismiss", "bob: No, please fix this."), "failure"),
        (said("mona: Won't fix.", "bob: /undismiss"), "failure"),
        (said("mona: /dismiss", "mallory: /undismiss"), "success"),
        (said("mona: /dismiss", "bob: /undismiss", "bob: /dismiss"), "success"),
        # a thread that was resolved before or after the objection
        ({"is_resolved": True, "resolved_by": "mona", **said("bob: /undismiss")}, "failure"),
        ({"thumbs_down": ("mona",), **said("bob: No, please fix this.")}, "failure"),
        # the line was changed, or the same text stands elsewhere
        ({"line": None, **said("mona: Won't fix.")}, "failure"),
        ({"line": 9, "is_resolved": True, "resolved_by": "mona"}, "failure"),
    ],
)
def test_dismissal_in_a_thread_counts_again(acts: dict[str, Any], conclusion: str) -> None:
    pushes = lose(**acts)
    assert pushes.push({"a.py": FAULT}, findings=[EVAL]) == conclusion
    assert pushes.comments == [("a.py", 4)]  # the first one
    assert pushes.replies == []
    assert pushes.push({"a.py": FAULT, "b.py": "b = 1\n"}) == conclusion


def test_finding_is_followed_again_from_its_thread() -> None:
    pushes = lose()
    other = found("b.py", 1, "z = eval(x)")
    head = {"a.py": FAULT, "b.py": "z = eval(x)\n"}
    assert pushes.push(head, findings=[EVAL, other]) == "failure"
    assert [(one.number, one.comment_id) for one in pushes.record.ledger] == [(1, 100), (2, 101)]
    third = found("c.py", 1, "eval(y)")
    pushes.push({**head, "c.py": "eval(y)\n"}, findings=[third])
    assert pushes.entry(3).path == "c.py"


def test_number_is_not_used_again_if_the_stored_record_cannot_be_read() -> None:
    pushes = Pushes(base={"a.py": BASE})
    pushes.push({"a.py": FAULT}, findings=[EVAL])
    assert parse_record("{", [dump_entry(pushes.entry(1))]).next_number == 2


def test_threads_of_other_findings_change_nothing() -> None:
    pushes = lose(key="0123456789abcdef", **said("mona: Won't fix."))
    assert pushes.push({"a.py": FAULT}, findings=[EVAL]) == "failure"
    assert pushes.comments == [("a.py", 4), ("a.py", 4)]
