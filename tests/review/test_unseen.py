"""A finding that hangs on a fact that was not shown, over several reviews."""

from __future__ import annotations

import pytest

from tests.review.pushes import Pushes, said
from tests.review.test_people import summary
from tests.review.test_verdicts import AT, BASE, FAULT, GUARD

FACT = "No caller checks `x`."


def hanging() -> Pushes:
    pushes = Pushes({"a.c": BASE})
    assert pushes.push({"a.c": FAULT}, findings=[AT], unseen=FACT) == "neutral"
    assert (pushes.looks, pushes.entry(1).unseen, pushes.entry(1).confidence) == (1, FACT, 0.65)
    return pushes


def test_review_stays_incomplete_until_the_finding_is_fixed() -> None:
    pushes = hanging()
    assert pushes.push({"a.c": FAULT}) == "neutral"
    assert (
        pushes.push(
            {"a.c": FAULT + "    end();\n"}, verdicts=[said(1, "present", "a.c", 4, AT.quote)]
        )
        == "neutral"
    )
    assert pushes.questions == [1]
    assert (
        "Finding 1, Wrong, hangs on a fact that was not shown: No caller checks `x`."
        in pushes.summary
    )
    fixed = FAULT.replace("    a = 1\n", f"    a = 1\n{GUARD}\n")
    assert pushes.push({"a.c": fixed}, verdicts=[said(1, "fixed", "a.c", 3, GUARD)]) == "success"
    assert "hangs on" not in pushes.summary


def test_check_repeats_shown_code_of_the_finding() -> None:
    pushes = Pushes({"a.c": BASE})
    pushes.push({"a.c": FAULT}, findings=[AT], unseen="Whether `?token=ab12cd34` is checked.")
    assert (
        "hangs on a fact that was not shown: Whether `?token=ab12cd34` is checked."
        in pushes.summary
    )


def test_dismissal_by_a_writer_ends_it() -> None:
    pushes = hanging()
    pushes.act(thumbs_down=("zoe",))
    assert pushes.push({"a.c": FAULT}) == "neutral"
    pushes.act(thumbs_down=("mona",))
    assert pushes.push({"a.c": FAULT}) == "success"


def test_finding_that_would_not_fail_the_check_leaves_the_review_complete() -> None:
    pushes = Pushes({"a.c": BASE})
    low = AT.model_copy(update={"severity": "low", "confidence": 0.6})
    assert pushes.push({"a.c": FAULT}, findings=[low], unseen=FACT) == "success"
    assert (pushes.looks, pushes.entry(1).unseen) == (1, FACT)


def test_other_finding_fails_the_check_beside_it() -> None:
    pushes = hanging()
    other = AT.model_copy(update={"line": 7, "quote": "    last(x);", "title": "Other"})
    assert pushes.push({"a.c": FAULT + "    end();\n    last(x);\n"}, findings=[other]) == "failure"


@pytest.mark.parametrize("has_new_line", [False, True])
def test_no_comment_says_that_nothing_was_found(has_new_line: bool) -> None:
    pushes = hanging()
    pushes.push({"a.c": FAULT + "    end();\n" * has_new_line})
    text = summary(pushes)
    assert "**1 open finding hangs on what was not shown**" in text
    assert "No findings" not in text
    assert "No new findings" not in text


def test_finding_that_the_second_look_proves_later_fails_the_check() -> None:
    pushes = hanging()
    again = AT.model_copy(update={"continues": 1, "confidence": 0.97})
    caller = {"a.c": FAULT, "b.c": "f(NULL);\n"}
    assert pushes.push(caller, findings=[again], agrees=False) == "neutral"
    assert pushes.push({**caller, "d.c": "h();\n"}, findings=[again], unseen=FACT) == "neutral"
    assert pushes.push({**caller, "c.c": "g();\n"}, findings=[again], agrees=True) == "failure"
    assert (pushes.looks, pushes.entry(1).unseen, pushes.entry(1).confidence) == (1, "", 0.97)
