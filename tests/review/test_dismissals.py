"""Words in replies that dismiss a finding, or take a dismissal back."""

from __future__ import annotations

import pytest

from hls_handler.review.dismissals import is_acceptance, is_dismissal


@pytest.mark.parametrize(
    "text",
    [
        "Won't fix.",
        "wontfix",
        "I won\u2019t fix this",
        "This is a false positive, see line 3.",
        "That is intentional.",
        "It's by design",
        "this is intended",
        "not a bug",
        "Out of scope for this PR",
        "I disagree",
        "please ignore this",
        "> You log a secret.\n\nWorks as designed",
        "Das ist Absicht",
        "Why? It is deliberate.",
        "We are not going to fix this.",
        "This won't be fixed",
        "false-positive",
        "False alarm",
        "That is expected behaviour",
        "This can't happen: the caller checks it",
        "n/a",
        "invalid",
        "This is invalid.",
        "we accept this risk",
        "no fix needed",
        "No change required here",
        "wird nicht behoben",
        "This isn't a bug",
        "I don't think this is a bug",
        "That does not need to be fixed",
        "We don't support Windows, so this is by design.",
    ],
)
def test_reply_that_dismisses_a_finding(text: str) -> None:
    assert is_dismissal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Thanks, fixed.",
        "That was not intentional, I will fix it",
        "It isn't intended, sorry",
        "It wasn\u2019t on purpose",
        "not really by design",
        "This is not a false positive, good catch",
        "I don't disagree",
        "Please don't ignore this",
        "unintentional, will fix",
        "Is this intentional?",
        "Could this be a false positive? I do not know.",
        "> won't fix\n\nI will fix it",
        "a" * 500 + " won't fix",
        "intentionally",
        "I disagree with the other reviewer, you are right",
        "Intentional or not, I'll fix it",
        "It's out of scope to argue; fixed",
        "I don't think this is by design.",
        "It was intended to be <=, correcting it",
        "I cannot disagree",
        "I'd not call it a false positive",
        "It's hardly by design",
        "We can't accept this risk",
        "We can't ignore this",
        "Yes, invalid input comes here",
        "This can't happen again after my change",
        "This is a bug, though out of scope",
        "noch nicht behoben",
    ],
)
def test_reply_that_does_not_dismiss_a_finding(text: str) -> None:
    assert not is_dismissal(text)


@pytest.mark.parametrize(
    ("text", "is_accepting"),
    [
        ("Sorry, I was wrong. It is a bug.", True),
        ("On reflection this must be corrected before the merge", True),
        ("Correcting it now", True),
        ("It isn't a bug", False),
        ("This won't be corrected", False),
        ("I do not agree", False),
        ("Is it a bug?", False),
    ],
)
def test_reply_that_takes_a_dismissal_back(text: str, is_accepting: bool) -> None:
    assert is_acceptance(text) is is_accepting
