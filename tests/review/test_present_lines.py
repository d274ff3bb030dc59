"""Findings whose lines left the patch: which of them are gone without a call, and what a call shows of the others."""

from __future__ import annotations

import pytest

from tests.review.pushes import Pushes, found, said

BASE = "def run(x):\n    a = 1\n    b = 2\n    return a\n"
FAULT = BASE.replace("    b = 2\n", "    b = 2\n    y = eval(x)\n")
OTHER = "def other(x):\n    c = 3\n    return c\n"
CHANGED = OTHER.replace("c = 3", "c = 4")


def raised(body: str = "It runs code.", title: str = "Code is run") -> Pushes:
    """A pull request with a finding in `a.py`. `b.py` is another file of the base."""
    pushes = Pushes({"a.py": BASE, "b.py": OTHER})
    finding = found("a.py", 4, "    y = eval(x)", body=body, title=title)
    assert pushes.push({"a.py": FAULT}, findings=[finding]) == "failure"
    return pushes


def test_finding_whose_file_is_as_in_the_base_is_gone_though_another_file_changed() -> None:
    pushes = raised()
    assert pushes.push({"b.py": CHANGED}) == "success"
    assert (pushes.calls, pushes.questions) == (2, [])
    assert pushes.entry(1).state == "gone"
    assert pushes.replies == ["No longer in the diff."]


def test_undecided_finding_whose_file_is_as_in_the_base_is_gone_without_a_call() -> None:
    pushes = raised()
    assert pushes.push({"a.py": FAULT.replace("eval(x)", "eval(x.strip())")}) == "failure"
    assert pushes.push({"b.py": CHANGED}) == "success"
    assert (pushes.entry(1).state, pushes.questions) == ("gone", [])


def test_review_on_demand_does_not_ask_about_a_finding_whose_file_is_as_in_the_base() -> None:
    pushes = raised()
    pushes.push({"b.py": CHANGED})
    assert pushes.push({"b.py": CHANGED}, requested="new") == "success"
    assert pushes.questions == []


@pytest.mark.parametrize(
    "body",
    ["`other` fails for it.", "It fails in other(x).", "The caller in b.py relies on it.", "See `src/b.py:2`."],
)
def test_finding_that_names_what_another_file_changes_is_asked_about(body: str) -> None:
    pushes = raised(body)
    head = {"b.py": "def other(x):\n    c = 4\n    return c\n"}
    assert pushes.push(head, verdicts=[said(1, "present", "b.py", 2, "    c = 4")]) == "failure"
    assert pushes.questions == [1]
    pushes = raised(body)
    assert pushes.push(head, verdicts=[said(1, "gone")]) == "success"


def test_finding_whose_line_another_file_has_in_other_words_is_asked_about() -> None:
    pushes = raised()
    head = {"c.py": "def run(text):\n    return eval(text)\n"}
    assert pushes.push(head, verdicts=[said(1, "present", "c.py", 2, "    return eval(text)")]) == "failure"
    assert pushes.questions == [1]


def test_finding_that_names_another_file_has_a_call_when_only_its_own_file_is_reverted() -> None:
    pushes = Pushes({"a.py": BASE, "b.py": OTHER})
    finding = found("a.py", 4, "    y = eval(x)", body="`other` of b.py passes text.")
    both = {"a.py": FAULT, "b.py": CHANGED}
    pushes.push(both, findings=[finding])
    present = said(1, "present", "b.py", 2, "    c = 4")
    assert pushes.push({"b.py": CHANGED}, verdicts=[present]) == "failure"
    assert (pushes.calls, pushes.questions) == (2, [1])
    assert pushes.push({"b.py": CHANGED}) == "failure"
    assert pushes.calls == 2


def test_finding_is_not_gone_while_github_does_not_list_all_files_or_lines() -> None:
    pushes = raised()
    pushes.omitted = ["a.py"]
    assert pushes.push({"a.py": FAULT.replace("eval(x)", "eval(x, {})"), "b.py": CHANGED}) == "failure"
