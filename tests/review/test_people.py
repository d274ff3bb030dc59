"""What people do in the thread of a finding, and what the check and the thread say then."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.actions import EnsureReply
from hls_handler.analysis import EarlierVerdict, Severity
from hls_handler.engine.asking import CommentRenderer
from hls_handler.github.values import ThreadReply
from hls_handler.handlers.handler import common_variables
from hls_handler.review.variables import list_comment_variables
from hls_handler.settings.effective import without_entry
from tests.engine.world import library, settings
from tests.handlers.world import pull_request_analysis
from tests.review.pushes import HANDLER, Pushes, found, said

BASE = "def run(x):\n    a = 1\n    b = 2\n    return a\n\ndef other(x):\n    c = 3\n    return c\n"
FAULT = BASE.replace("    b = 2\n", "    b = 2\n    y = eval(x)\n")
WRONG_FIX = FAULT.replace("eval(x)", "eval(x.strip())")
RIGHT_FIX = FAULT.replace("eval(x)", "literal_eval(x)")
PRESENT = said(1, "present", "a.py", 4, "    y = eval(x.strip())")
FIXED = said(1, "fixed", "a.py", 4, "    y = literal_eval(x)")

STILL_THERE = (
    "Still there, line 4. If it is not to be fixed: `/dismiss 1` of a person with write permission."
)


def raised() -> Pushes:
    pushes = Pushes(base={"a.py": BASE})
    finding = found("a.py", 4, "    y = eval(x)")
    assert pushes.push({"a.py": FAULT}, findings=[finding]) == "failure"
    return pushes


def resolve(pushes: Pushes, by: str = "mona") -> None:
    pushes.act(is_resolved=True, resolved_by=by)


def conclude(pushes: Pushes, code: str = FAULT) -> str | None:
    """Conclude the check as after an act of a person; the code is that of the last push."""
    return pushes.push({"a.py": code}, requested="conclude")


def dismiss(pushes: Pushes, words: str = "Won't fix.") -> None:
    pushes.act(replies=(ThreadReply("mona", words),))


WAYS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"is_resolved": True, "resolved_by": "mona"}, "resolved thread"),
    ({"replies": (ThreadReply("mona", "Won't fix"),)}, "reply"),
    ({"thumbs_down": ("mallory", "mona")}, "thumbs down"),
    ({}, "deleted comment"),
)
"""Acts in the thread, and how they dismiss the finding."""


def test_resolving_the_thread_of_an_unchanged_finding_dismisses_it_until_it_is_unresolved() -> None:
    pushes = raised()
    resolve(pushes)
    assert conclude(pushes) == "success"
    assert pushes.replies == []
    pushes.act(is_resolved=False, resolved_by=None)
    assert conclude(pushes) == "failure"
    assert pushes.calls == 1


def test_dismissal_by_a_resolved_thread_ends_when_the_block_changes() -> None:
    pushes = raised()
    resolve(pushes)
    conclude(pushes)
    assert pushes.push({"a.py": WRONG_FIX}, verdicts=[PRESENT]) == "failure"
    assert pushes.questions == [1]
    assert pushes.replies == [STILL_THERE]


def test_resolving_after_a_wrong_fix_dismisses_nothing_and_gets_one_reply() -> None:
    pushes = raised()
    assert pushes.push({"a.py": WRONG_FIX}, verdicts=[PRESENT]) == "failure"
    resolve(pushes)
    assert conclude(pushes, WRONG_FIX) == "failure"
    assert pushes.calls == 2
    assert pushes.replies == [STILL_THERE]
    assert conclude(pushes, WRONG_FIX) == "failure"
    assert pushes.replies == []


def test_resolving_a_thread_whose_finding_is_undecided_asks_about_it_once() -> None:
    pushes = raised()
    assert pushes.push({"a.py": RIGHT_FIX}) == "failure"
    resolve(pushes)
    assert pushes.push({"a.py": RIGHT_FIX}, requested="conclude", verdicts=[FIXED]) == "success"
    assert (pushes.calls, pushes.questions) == (3, [1])
    assert pushes.replies == ["Fixed in 0000003 by line 4."]


def test_push_without_new_lines_asks_about_an_undecided_finding_that_fails_the_check() -> None:
    pushes = raised()
    assert pushes.push({"a.py": RIGHT_FIX}) == "failure"
    assert pushes.push({"a.py": RIGHT_FIX}, verdicts=[FIXED]) == "success"
    assert pushes.push({"a.py": RIGHT_FIX}) == "success"
    assert pushes.calls == 3


def test_resolving_by_a_person_who_may_not_write_asks_nothing() -> None:
    pushes = raised()
    pushes.push({"a.py": RIGHT_FIX})
    resolve(pushes, by="mallory")
    assert conclude(pushes, RIGHT_FIX) == "failure"
    assert (pushes.calls, pushes.replies) == (2, [])


@pytest.mark.parametrize(("acts", "how"), WAYS)
def test_summary_names_who_dismissed_a_finding_and_how(acts: dict[str, Any], how: str) -> None:
    pushes = raised()
    pushes.act(**acts)
    if not acts:
        pushes.command("deleted 1a2b3c4d by mona")
    conclude(pushes)
    shown: Any = list_comment_variables(pushes.job.facts, pull_request_analysis())["dismissals"]
    assert [(one.number, one.dismissed_by, one.dismissed_how) for one in shown] == [
        (1, "mona", how)
    ]


@pytest.mark.parametrize("acts", [acts for acts, _ in WAYS])
def test_undismiss_takes_every_present_dismissal_back(acts: dict[str, Any]) -> None:
    pushes = raised()
    pushes.act(**acts)
    pushes.command("command 1a2b3c4d by mona")
    assert conclude(pushes) == "success"
    pushes.command("undismissed 5e6f7a8b by mona")
    assert conclude(pushes) == "failure"
    assert conclude(pushes) == "failure"
    assert pushes.calls == 1
    replies = (*pushes.threads[0].replies, ThreadReply("mona", "By design"))
    pushes.act(replies=replies)
    assert conclude(pushes) == "success"


@pytest.mark.parametrize(
    ("replies", "conclusion"),
    [
        ((("mona", "/dismiss"),), "success"),
        ((("mona", "/dismiss"), ("mona", "/undismiss")), "failure"),
        ((("mona", "Won't fix."), ("bob", "No, please fix this.")), "failure"),
        ((("mona", "Won't fix."), ("mallory", "/undismiss")), "success"),
        ((("mona", "/undismiss"), ("mona", "/dismiss")), "success"),
    ],
)
def test_commands_in_a_thread_count_also_if_their_events_are_not_received(
    replies: tuple[tuple[str, str], ...], conclusion: str
) -> None:
    pushes = raised()
    pushes.writers = ("mona", "bob")
    pushes.act(replies=tuple(ThreadReply(*reply) for reply in replies))
    assert conclude(pushes) == conclusion


@pytest.mark.parametrize("words", ["Won't fix.", "/dismiss"])
def test_dismissal_that_was_taken_back_stays_so_without_the_objection(words: str) -> None:
    pushes = raised()
    pushes.writers = ("mona", "bob")
    dismissal = ThreadReply("mona", words)
    pushes.act(replies=(dismissal,))
    assert conclude(pushes) == "success"
    pushes.act(replies=(dismissal, ThreadReply("bob", "/undismiss")))
    assert conclude(pushes) == "failure"
    pushes.act(replies=(dismissal,))  # bob deletes his reply
    assert conclude(pushes) == "failure"
    pushes.act(replies=(dismissal, ThreadReply("mona", "By design.")))
    assert conclude(pushes) == "success"


def test_dismissal_ends_with_its_reply_or_when_that_is_edited_to_other_words() -> None:
    pushes = raised()
    dismiss(pushes)
    assert conclude(pushes) == "success"
    pushes.act(replies=())
    assert conclude(pushes) == "failure"
    dismiss(pushes)
    assert conclude(pushes) == "success"
    dismiss(pushes, "I fix it at once.")
    assert conclude(pushes) == "failure"


@pytest.mark.parametrize("acts", [acts for acts, _ in WAYS])
@pytest.mark.parametrize("severity", ["high", "medium"])
def test_rule_18_author_dismisses_only_what_fails_no_check(
    acts: dict[str, Any], severity: Severity
) -> None:
    pushes = Pushes(base={"a.py": BASE}, writers=())
    pushes.push({"a.py": FAULT}, findings=[found("a.py", 4, "    y = eval(x)", severity=severity)])
    pushes.act(**{**acts, "thumbs_down": (*acts.get("thumbs_down", ()), "mallory")})
    if not acts:
        pushes.command("command 1a2b3c4d by mona")  # when it failed no check
    conclude(pushes)
    state = "dismissed" if severity == "medium" else "open"
    assert (pushes.entry(1).state, pushes.entry(1).counts) == (state, state == "open")


def test_thread_that_is_missing_changes_nothing() -> None:
    pushes = raised()
    pushes.threads = ()
    assert conclude(pushes) == "failure"
    dismissed = raised()
    resolve(dismissed)
    conclude(dismissed)
    dismissed.threads = ()
    assert conclude(dismissed) == "success"


def find_replies(pushes: Pushes) -> list[tuple[str, bool]]:
    """Return the replies of the last review, and whether they end the footer of the finding."""
    return [
        (one.body, one.ends_footer) for one in pushes.job.actions if isinstance(one, EnsureReply)
    ]


@pytest.mark.parametrize("objections", [(), (ThreadReply("mallory", "Not a bug"),)])
def test_last_word_in_a_thread_is_never_false_and_only_a_closed_finding_has_no_footer(
    objections: tuple[ThreadReply, ...],
) -> None:
    pushes = raised()
    assert pushes.push({"a.py": RIGHT_FIX}, verdicts=[FIXED]) == "success"
    assert find_replies(pushes) == [("Fixed in 0000002 by line 4.", True)]
    pushes.act(replies=objections)
    assert pushes.push({"a.py": FAULT}) == "failure"
    assert find_replies(pushes) == [
        ("Open again since 0000003, line 4. A maintainer can dismiss it: reply `/dismiss`.", False)
    ]
    assert pushes.push({"a.py": RIGHT_FIX}) == "success"
    assert find_replies(pushes) == [("No longer in the diff.", True)]
    assert pushes.push({"a.py": RIGHT_FIX}) == "success"
    assert pushes.replies == []


def summary(pushes: Pushes, *verdicts: EarlierVerdict) -> str:
    """The comment of the last review."""
    facts = pushes.job.facts
    reply = pull_request_analysis(summary="", findings=[], earlier=list(verdicts))
    prompt = "pull_requests/analyze"
    common = common_variables(pushes.job.event, prompt, without_entry(settings()))
    variables = {**HANDLER.variables(facts), **list_comment_variables(facts, reply)}
    comments = CommentRenderer(library(), common, b"k" * 32, has_sections=False)
    analysis = comments.render_static(prompt, reply, variables)
    return analysis.comment or ""


def test_summary_never_says_no_findings_while_one_fails_the_check() -> None:
    pushes = raised()
    assert pushes.push({"a.py": RIGHT_FIX}) == "failure"
    undecided = summary(pushes)
    assert (
        "**1 finding still fails the check.** Its line changed; this review could not tell whether"
        " that fixes it. A maintainer's `/review` looks again." in undecided
    )
    assert pushes.push({"a.py": WRONG_FIX}, verdicts=[PRESENT]) == "failure"
    present = summary(pushes, PRESENT)
    assert "**1 finding still fails the check.** It is still there, as of [`0000003000`]" in present
    assert "No new findings" not in undecided + present
    pushes.act(thumbs_down=("mona",))
    assert conclude(pushes, WRONG_FIX) == "success"
    dismissed = summary(pushes)
    assert "No findings in [`0000004000`]" in dismissed
    assert "(finding 1, high): " in dismissed
    assert "by `mona` (thumbs down)" in dismissed


def test_resolving_after_a_fix_that_broke_again_gets_one_reply() -> None:
    pushes = raised()
    pushes.push({"a.py": RIGHT_FIX}, verdicts=[FIXED])
    pushes.push({"a.py": WRONG_FIX}, verdicts=[PRESENT])
    resolve(pushes)
    assert conclude(pushes, WRONG_FIX) == "failure"
    assert pushes.replies == [STILL_THERE]


def test_thread_that_was_resolved_after_a_wrong_fix_dismisses_nothing_when_the_fix_is_reverted() -> (
    None
):
    pushes = raised()
    pushes.push({"a.py": WRONG_FIX}, verdicts=[PRESENT])
    resolve(pushes)
    conclude(pushes, WRONG_FIX)
    as_raised = said(1, "present", "a.py", 4, "    y = eval(x)")
    assert pushes.push({"a.py": FAULT}, verdicts=[as_raised]) == "failure"
    assert conclude(pushes) == "failure"
    pushes.act(is_resolved=False, resolved_by=None)
    assert conclude(pushes) == "failure"
    resolve(pushes)
    assert conclude(pushes) == "success"
