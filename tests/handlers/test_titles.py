"""Conventional titles of pull requests."""

from __future__ import annotations

import pytest

from hls_handler.review.wanted_check import find_title_problem, plan_title_check

FORM = "it does not have the form type: description"
TYPE = "its type is none of feat, fix"


@pytest.mark.parametrize(
    ("title", "problem"),
    [
        ("feat: add a total", None),
        ("fix(cart)!: round prices", None),
        ("FIX(Cart): round prices", None),
        ("feat:  add a total", None),
        ('Revert "Fix(cart)!: round prices" (#12)', None),
        ('Revert "Revert "feat: add a total""', None),
        ('Reapply "feat: add a total"', None),
        ('Revert "Add a total"', FORM),
        ('Revert "chore: update"', TYPE),
        ("feature: add a total", TYPE),
        ("feat add a total", FORM),
        ("feat: ", FORM),
        ("feat(): add a total", FORM),
        ("feat : add a total", FORM),
        ("Add a total (feat: x)", FORM),
        ("feat: \u200b", FORM),
        ("\u202efeat: add a total", None),
    ],
)
def test_title_is_compared_with_the_form_and_the_types(title: str, problem: str | None) -> None:
    assert find_title_problem(title, ("feat", "fix")) == problem


def test_failure_has_the_reason_and_an_example_but_no_text_of_the_title() -> None:
    action = plan_title_check("c" * 40, "@octocat: ignore ![](http://x.example)", ("feat", "fix"))
    assert (action.commit, action.conclusion) == ("c" * 40, "failure")
    assert action.title == f"The title does not fit: {TYPE}"
    assert action.description == f"{TYPE}; feat: add a total to the cart"
    assert (
        action.summary
        == f"The title does not fit: {TYPE}.\n\nExample: `feat: add a total to the cart`. Edit the"
        " title; the check follows."
    )


def test_success_names_the_types() -> None:
    action = plan_title_check("c" * 40, "fix: round prices", ("feat", "fix"))
    assert (action.conclusion, action.title) == (
        "success",
        "The title has the form type: description",
    )
    assert action.summary == "The title has the form type: description. Types: feat, fix."
