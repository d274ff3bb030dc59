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


def conclude(pushes: Pushes, code: str = FAULT) -> str | None:
    """Conclude the check as after an act of a person; the code is that of the last push."""
    return pushes.push({"a.py": code}, requested="conclude")


WAYS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"is_resolved": True, "resolved_by": "mona"}, "resolved thread"),
    ({"replies": (ThreadReply("mona", "Won't fix"),)}, "reply"),
    ({"thumbs_down": ("mallory", "mona")}, "thumbs down"),
    ({}, "deleted comment"),
)
"""Acts in the thread, and how they dismiss the finding."""


FIXED_BY_PUSH_2 = "Fixed in 0000002 by line 4."
OPEN_AGAIN = "Open again since 0000003, line 4. A maintainer can dismiss it: reply `/dismiss`."


@pytest.mark.parametrize(
    ("story", "replies"),
    [
        # a resolved thread dismisses, until it is unresolved or the block changes
        ("mona resolves = success; unresolved = failure", []),
        ("mona resolves = success; wrong fix (present) = asked failure", [STILL_THERE]),
        # after a wrong fix it dismisses nothing, and gets one reply
        (
            "wrong fix (present) = asked failure; mona resolves = failure; again = failure",
            [STILL_THERE],
        ),
        (
            "right fix (fixed); wrong fix (present); mona resolves = failure",
            [FIXED_BY_PUSH_2, OPEN_AGAIN, STILL_THERE],
        ),
        # not even when the fix is reverted
        (
            (
                "wrong fix (present); mona resolves = failure; fault (as raised) = asked failure;"
                " again = failure; unresolved = failure; mona resolves = success"
            ),
            [STILL_THERE],
        ),
        # one question about an undecided finding follows
        (
            "right fix = asked failure; mona resolves (fixed) = asked success",
            ["Fixed in 0000003 by line 4."],
        ),
        (
            "right fix = asked failure; right fix (fixed) = asked success; right fix = success",
            ["Fixed in 0000003 by line 4."],
        ),
        # mallory may not write
        ("right fix = asked failure; mallory resolves = failure", []),
        # commands in a thread count also if their events are not received
        ("mona: /dismiss = success", []),
        ("mona: /dismiss; mona: /undismiss = failure", []),
        ("mona: Won't fix.; bob: No, please fix this. = failure", []),
        ("mona: Won't fix.; mallory: /undismiss = success", []),
        ("mona: /undismiss; mona: /dismiss = success", []),
        # a dismissal that was taken back stays so without the objection
        (
            (
                "mona: Won't fix. = success; bob: /undismiss = failure; deleted = failure;"
                " mona: By design. = success"
            ),
            [],
        ),
        (
            (
                "mona: /dismiss = success; bob: /undismiss = failure; deleted = failure;"
                " mona: By design. = success"
            ),
            [],
        ),
        # a dismissal ends with its reply, or when that is edited to other words
        ("mona: Won't fix. = success; deleted = failure; mona: Won't fix. = success", []),
        ("mona: Won't fix. = success; deleted; mona: I fix it at once. = failure", []),
        # a thread that is missing changes nothing
        ("no thread = failure", []),
        ("mona resolves = success; no thread = success", []),
    ],
)
def test_people_dismiss_a_finding_in_its_thread_until_they_take_it_back(
    story: str, replies: list[str]
) -> None:
    """A push names its code, and in brackets what Claude says of the finding. After `=` are the
    conclusion of a review, and whether Claude was asked about the finding.
    """
    pushes = raised()
    pushes.writers = ("mona", "bob")
    pushed, posted = "fault", list[str]()
    as_raised = said(1, "present", "a.py", 4, "    y = eval(x)")
    verdicts = {"present": PRESENT, "fixed": FIXED, "as raised": as_raised}
    codes = {"fault": FAULT, "wrong fix": WRONG_FIX, "right fix": RIGHT_FIX}
    for step in story.split("; "):
        act, _, outcome = step.partition(" = ")
        act, _, verdict = act.removesuffix(")").partition(" (")
        login, _, words = act.partition(": ")
        said_before = pushes.threads[0].replies if pushes.threads else ()
        if words:
            pushes.act(replies=(*said_before, ThreadReply(login, words)))
        elif act == "deleted":
            pushes.act(replies=said_before[:-1])
        elif act.endswith(" resolves"):
            pushes.act(is_resolved=True, resolved_by=act.removesuffix(" resolves"))
        elif act == "unresolved":
            pushes.act(is_resolved=False, resolved_by=None)
        elif act == "no thread":
            pushes.threads = ()
        elif act in codes:
            pushed = act
        if act in codes or outcome:
            calls = pushes.calls
            conclusion = pushes.push(
                {"a.py": codes[pushed]},
                verdicts=[verdicts[verdict]] if verdict else [],
                requested=None if act in codes else "conclude",
            )
            asked = "asked " if pushes.calls > calls else ""
            assert not asked or pushes.questions == [1]
            assert outcome in ("", f"{asked}{conclusion}"), step
            posted += pushes.replies
    assert posted == replies


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


@pytest.mark.parametrize("objections", [(), (ThreadReply("mallory", "Not a bug"),)])
def test_last_word_in_a_thread_is_never_false_and_only_a_closed_finding_has_no_footer(
    objections: tuple[ThreadReply, ...],
) -> None:
    def find_replies(pushes: Pushes) -> list[tuple[str, bool]]:
        """Return the replies of the last review, and whether they end the footer of the finding."""
        return [
            (one.body, one.ends_footer)
            for one in pushes.job.actions
            if isinstance(one, EnsureReply)
        ]

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
