"""Histories of a finding through several pushes: what the check says after each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.review.pushes import Pushes, found, said

REVIEWS = Path(__file__).parents[2] / "docs" / "reviews.md"

BASE = (
    "import os\n\ndef run(x):\n    a = 1\n    b = 2\n    return a\n\ndef other(x):\n    c = 3\n   "
    " return c\n"
)
FAULT = BASE.replace("    b = 2\n", "    b = 2\n    y = eval(x)\n")
EVAL = found("a.py", 6, "    y = eval(x)")

Check = str | None


def raised(**known: object) -> Pushes:
    """A pull request with the finding that `y = eval(x)` runs code."""
    pushes = Pushes({"a.py": BASE}, **known)  # type: ignore[arg-type]
    assert pushes.push({"a.py": FAULT}, findings=[EVAL]) == "failure"
    return pushes


def edited(line: str, text: str = FAULT) -> dict[str, str]:
    return {"a.py": text.replace("    y = eval(x)\n", line)}


def comment_added() -> list[Check]:
    pushes = raised()
    head = edited("    y = eval(x)  # reviewed by security\n")
    silent = pushes.push(head)
    gone = pushes.push(edited("    y = eval(x)  # by security\n"), verdicts=[said(1, "gone")])
    quote = "    y = eval(x)  # checked"
    fixed = pushes.push(
        edited(f"{quote}\n"), verdicts=[said(1, "fixed", "a.py", 6, quote)], agrees=False
    )
    return [silent, gone, fixed]


def semicolon_added() -> list[Check]:
    pushes = raised()
    silent = pushes.push(edited("    y = eval(x);\n"))
    return [silent, pushes.push(edited("    y = eval(x) ;\n"), verdicts=[said(1, "gone")])]


def line_split_by_a_formatter() -> list[Check]:
    return [raised().push(edited("    y = eval(\n        x\n    )\n"), verdicts=[said(1, "gone")])]


def fixed_at_its_line() -> list[Check]:
    quote = "    y = literal_eval(x)"
    return [raised().push(edited(f"{quote}\n"), verdicts=[said(1, "fixed", "a.py", 6, quote)])]


def guard_above() -> list[Check]:
    pushes, guard = raised(), "    if not x.isdigit(): return None"
    head = edited("    y = eval(x)\n", FAULT.replace("    a = 1\n", f"    a = 1\n{guard}\n"))
    refused = pushes.push(head, verdicts=[said(1, "fixed", "a.py", 5, guard)], agrees=False)
    other = {"a.py": head["a.py"].replace("    c = 3\n", "    c = 4\n")}
    return [refused, pushes.push(other, verdicts=[said(1, "fixed", "a.py", 5, guard)])]


def fixed_in_another_file() -> list[Check]:
    quote = "    return eval_only_numbers(x)"
    head = {"a.py": FAULT, "caller.py": f"def call(x):\n{quote}\n"}
    return [raised().push(head, verdicts=[said(1, "fixed", "caller.py", 2, quote)])]


def moved_to_another_file() -> list[Check]:
    head = {"a.py": BASE.replace("c = 3", "c = 4"), "b.py": "def run(x):\n    y = eval(x)\n"}
    pushes = raised()
    gone = pushes.push(head, verdicts=[said(1, "gone")])
    head["b.py"] = "def run(x):\n    y = literal_eval(x)\n"
    return [
        gone,
        pushes.push(head, verdicts=[said(1, "fixed", "b.py", 2, "    y = literal_eval(x)")]),
    ]


def reverted() -> list[Check]:
    pushes = raised()
    return [pushes.push({"a.py": BASE}), pushes.push({"a.py": FAULT})]


def reverted_beside_a_change_of_another_file() -> list[Check]:
    pushes = raised()
    gone = pushes.push({"b.py": "def other(x):\n    return 2\n"})
    assert pushes.questions == []
    named = Pushes({"a.py": BASE})
    named.push(
        {"a.py": FAULT}, findings=[EVAL.model_copy(update={"body": "`load` of b.py passes text."})]
    )
    return [gone, named.push({"b.py": "def load(x):\n    run(x)\n"})]


def reverted_beside_a_change_of_its_file() -> list[Check]:
    pushes = raised()
    head = {"a.py": BASE.replace("    c = 3\n", "    c = 4\n")}
    return [pushes.push(head, verdicts=[said(1, "gone")])]


def deleted() -> list[Check]:
    alone = raised().push(
        edited("", FAULT.replace("import os\n", "")), verdicts=[said(1, "fixed")], agrees=False
    )
    beside = raised().push(
        edited("    y = run_code(x)\n"), verdicts=[said(1, "fixed")], agrees=False
    )
    return [alone, beside]


def line_added_beside_its_code() -> list[Check]:
    line = "    assert True"
    head = edited(f"{line}\n    y = eval(x)\n")
    return [raised().push(head, verdicts=[said(1, "fixed", "a.py", 6, line)], agrees=False)]


def repeated_at_a_place_that_is_not_shown() -> list[Check]:
    pushes = raised()
    check = pushes.push(
        {"a.py": FAULT, "b.py": "x = 1\n"}, findings=[EVAL.model_copy(update={"title": "Again"})]
    )
    assert pushes.comments == [("a.py", 6)]
    return [check]


def guard_removed_again() -> list[Check]:
    pushes, guard = raised(), "    if not x.isdigit(): return None"
    head = {"a.py": FAULT.replace("    a = 1\n", f"    a = 1\n{guard}\n")}
    fixed = pushes.push(head, verdicts=[said(1, "fixed", "a.py", 5, guard)])
    return [
        fixed,
        pushes.push({"a.py": FAULT}, verdicts=[said(1, "fixed", "a.py", 6, "    y = eval(x)")]),
    ]


def reformatted() -> list[Check]:
    return [raised().push({"a.py": FAULT.replace("    ", "  ")}, verdicts=[said(1, "gone")])]


def rebased() -> list[Check]:
    base = "'''Runs.'''\n\n\n\n" + BASE
    return [raised().push({"a.py": "'''Runs.'''\n\n\n\n" + FAULT}, base={"a.py": base})]


def hunk_split_by_the_base() -> list[Check]:
    base = BASE.replace("    return a\n", "    return a\n" + "    # more\n" * 8)
    both = FAULT.replace("    c = 3\n", "    c = 4\n")
    pushes = Pushes({"a.py": BASE})
    assert pushes.push({"a.py": both}, findings=[EVAL]) == "failure"
    head = both.replace("    return a\n", "    return a\n" + "    # more\n" * 8)
    return [pushes.push({"a.py": head}, base={"a.py": base})]


def commented_out() -> list[Check]:
    pushes = raised()
    quote = "    # y = eval(x)"
    fixed = pushes.push(edited(f"{quote}\n"), verdicts=[said(1, "fixed", "a.py", 6, quote)])
    return [fixed, pushes.push(edited("    # was: y = eval(x)\n"), verdicts=[said(1, "gone")])]


def moved_into_an_ignored_file() -> list[Check]:
    head = {"a.py": BASE.replace("c = 3", "c = 4"), "dist/b.py": "y = eval(x)\n"}
    return [raised(ignored=["dist/**"]).push(head, verdicts=[said(1, "gone")])]


def proved_by_an_assertion() -> list[Check]:
    quote = "    assert run('2') == 2"
    head = {**edited("    y = eval( x )\n"), "test_a.py": f"def test_run():\n{quote}\n"}
    return [raised().push(head, verdicts=[said(1, "fixed", "test_a.py", 2, quote)], agrees=False)]


def line_of_a_long_new_file_edited() -> list[Check]:
    lines = [f"    value_{n} = {n}" for n in range(600)]
    lines[300] = "    y = eval(x)"
    text = "\n".join(["def run(x):", *lines])
    pushes = Pushes({})
    assert (
        pushes.push({"new.py": text}, findings=[found("new.py", 302, "    y = eval(x)")])
        == "failure"
    )
    head = {"new.py": text.replace("value_500 = 500", "value_500 = 501")}
    old_line = pushes.push(head, verdicts=[said(1, "fixed", "new.py", 102, "    value_100 = 100")])
    head = {"new.py": head["new.py"].replace("value_400 = 400", "value_400 = 401")}
    return [old_line, pushes.push(head, verdicts=[said(1, "gone")])]


def dismissed_and_edited() -> list[Check]:
    pushes = raised()
    pushes.threads = [replace(one, thumbs_down=("mona",)) for one in pushes.threads]
    head = edited("    y = eval(x)  # fine\n")
    same = pushes.push(head, findings=[found("a.py", 6, "    y = eval(x)  # fine", continues=1)])
    assert len(pushes.comments) == 1
    head = edited("    y = eval(x + z)\n")
    worse = said(1, "present", "a.py", 6, "    y = eval(x + z)").model_copy(
        update={"severity": "critical"}
    )
    return [same, pushes.push(head, verdicts=[worse])]


def resolved_before_and_after_a_wrong_fix() -> list[Check]:
    pushes, wrong = raised(), "    y = eval(x.strip())"
    pushes.act(is_resolved=True, resolved_by="mona")
    dismissed = pushes.push(edited("    y = eval(x)\n"), requested="conclude")
    head = edited(f"{wrong}\n")
    changed = pushes.push(head, verdicts=[said(1, "present", "a.py", 6, wrong)])
    pushes.act(is_resolved=True, resolved_by="mona")
    return [dismissed, changed, pushes.push(head, requested="conclude")]


def claude_down_in_between() -> list[Check]:
    pushes = raised()
    down = pushes.push(edited("    y = run_eval(x)\n"), is_down=True)
    quote = "    y = literal_eval(x)"
    return [down, pushes.push(edited(f"{quote}\n"), verdicts=[said(1, "fixed", "a.py", 6, quote)])]


HISTORIES: Mapping[str, tuple[Callable[[], list[Check]], list[Check]]] = {
    "a comment is added to its line": (comment_added, ["failure", "failure", "failure"]),
    "a semicolon is added to its line": (semicolon_added, ["failure", "failure"]),
    "a formatter splits its line": (line_split_by_a_formatter, ["failure"]),
    "its line is corrected": (fixed_at_its_line, ["success"]),
    "a guard above prevents the failure": (guard_above, ["failure", "success"]),
    "a line in another file prevents it": (fixed_in_another_file, ["success"]),
    "its line moves to another file, and is corrected there": (
        moved_to_another_file,
        ["failure", "success"],
    ),
    "its change is reverted, and made again": (reverted, ["success", "failure"]),
    "its change is reverted, and another file edited; the finding names it": (
        reverted_beside_a_change_of_another_file,
        ["success", "failure"],
    ),
    "its change is reverted, and its file edited elsewhere": (
        reverted_beside_a_change_of_its_file,
        ["success"],
    ),
    "its line is deleted; another one is in its place": (deleted, ["success", "failure"]),
    "a line without an effect is added beside it": (line_added_beside_its_code, ["failure"]),
    "another file is edited": (repeated_at_a_place_that_is_not_shown, ["failure"]),
    "the guard that fixed it is removed again": (guard_removed_again, ["success", "failure"]),
    "the file is indented anew": (reformatted, ["failure"]),
    "a rebase moves its line": (rebased, ["failure"]),
    "the base splits its hunk": (hunk_split_by_the_base, ["failure"]),
    "its line is commented out": (commented_out, ["failure", "success"]),
    "its line moves into an ignored file": (moved_into_an_ignored_file, ["failure"]),
    "the assertion of a test is said to prove the fix": (proved_by_an_assertion, ["failure"]),
    "another line of a new file of 600 lines is edited": (
        line_of_a_long_new_file_edited,
        ["failure", "failure"],
    ),
    "a writer dismisses it, and its line is edited": (dismissed_and_edited, ["success", "failure"]),
    "a writer resolves its thread, then again after a wrong fix": (
        resolved_before_and_after_a_wrong_fix,
        ["success", "failure", "failure"],
    ),
    "Claude is down in between": (claude_down_in_between, ["failure", "success"]),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_check_after_each_push_of_a_history(name: str) -> None:
    history, checks = HISTORIES[name]
    assert history() == checks


def test_histories_in_the_docs_have_these_checks() -> None:
    rows = re.findall(r"^\| (.+?) \|.*\| ([^|]+) \|$", REVIEWS.read_text(), re.MULTILINE)
    documented = {name: checks for name, checks in rows if name in HISTORIES}
    assert len(documented) == 5
    assert documented == {
        name: ", ".join(str(check) for check in HISTORIES[name][1]) for name in documented
    }


def test_finding_that_was_fixed_and_is_reported_again_gets_no_second_comment() -> None:
    pushes, quote = raised(), "    y = literal_eval(x)"
    assert (
        pushes.push(edited(f"{quote}\n"), verdicts=[said(1, "fixed", "a.py", 6, quote)])
        == "success"
    )
    again = {
        "a.py": edited(f"{quote}\n")["a.py"].replace("    c = 3\n", "    c = 3\n    y = eval(x)\n")
    }
    assert (
        pushes.push(again, findings=[found("a.py", 10, "    y = eval(x)")], agrees=False)
        == "failure"
    )
    assert pushes.comments == [("a.py", 6)]


def test_line_reported_again_in_another_file_gets_no_second_comment() -> None:
    pushes = raised()
    head = {"a.py": BASE.replace("c = 3", "c = 4"), "b.py": "def run(x):\n    y = eval(x)\n"}
    check = pushes.push(
        head, findings=[found("b.py", 2, "    y = eval(x)")], verdicts=[said(1, "gone")]
    )
    assert (check, pushes.comments) == ("failure", [("a.py", 6)])


def test_finding_that_is_gone_returns_with_its_code() -> None:
    pushes = Pushes({"a.py": BASE})
    pushes.push({"a.py": FAULT})
    pushes.push(edited("    y = eval(x)\n    z = 5\n"), findings=[EVAL])
    assert pushes.push(edited("    z = 5\n"), verdicts=[said(1, "gone")]) == "success"
    assert pushes.push({"a.py": FAULT}) == "failure"


def test_finding_that_is_gone_is_open_again_when_the_block_on_which_it_was_raised_is_back() -> None:
    pushes, first = Pushes({"a.py": BASE}), edited("    y = eval(x)\n")
    assert pushes.push(first, findings=[found("a.py", 6, "    y = eval(x)")]) == "failure"
    commented = "    y = eval(x)  # of the caller"
    pushes.push(edited(f"{commented}\n"), verdicts=[said(1, "present", "a.py", 6, commented)])
    assert pushes.push({}, deleted=["a.py"], verdicts=[said(1, "gone")]) == "success"
    assert pushes.push(first) == "failure"


OTHER = FAULT.replace("    c = 3\n", "    c = 4\n")


def test_line_that_was_away_when_the_finding_was_raised_proves_its_fix() -> None:
    pushes, safe = Pushes({"a.py": BASE}), "    y = literal_eval(x)"
    pushes.push(edited(f"{safe}\n"))
    assert (
        pushes.push(edited("    y = eval(x)\n"), findings=[found("a.py", 6, "    y = eval(x)")])
        == "failure"
    )
    assert pushes.push(edited(f"{safe}\n", OTHER)) == "failure"
    assert (
        pushes.push(edited(f"{safe}\n", OTHER), verdicts=[said(1, "fixed", "a.py", 6, safe)])
        == "success"
    )


def test_finding_is_asked_about_again_when_a_block_that_left_its_file_is_back() -> None:
    pushes, reworded = raised(), edited("    y = eval(x.strip())\n")
    assert pushes.push(reworded) == "failure"
    assert pushes.push({"a.py": BASE}) == "success"
    assert pushes.push(reworded) == "failure"
    assert pushes.questions == [1]


def test_finding_stays_gone_when_a_block_is_back_that_was_there_when_it_was_gone() -> None:
    pushes = raised()
    one, two = (BASE.replace("    c = 3\n", f"    c = {number}\n") for number in (4, 5))
    assert pushes.push({"a.py": one}, verdicts=[said(1, "gone")]) == "success"
    assert pushes.push({"a.py": two}) == "success"
    assert pushes.push({"a.py": one}) == "success"


def test_second_copy_of_a_block_that_left_and_came_back_is_read() -> None:
    line = "    y = eval(x)\n"
    body = "    p = 1\n    q = 2\n    a = 1\n    return a\n    # the\n    # end\n"
    twice = f"def run(x):\n{body}def again(x):\n{body}"
    base = {"a.py": twice, "b.py": "c = 1\n"}
    once = twice.replace("    a = 1\n", f"    a = 1\n{line}", 1) + "# file\n"
    pushes = Pushes(base)
    pushes.push({"a.py": once, "b.py": "c = 2\n"})
    pushes.push({"a.py": f"{twice}# file\n", "b.py": "c = 2\n"})
    pushes.push({"a.py": once, "b.py": "c = 2\n"})
    calls = pushes.calls
    both = twice.replace("    a = 1\n", f"    a = 1\n{line}") + "# file\n"
    pushes.push({"a.py": both, "b.py": "c = 2\n"})
    assert pushes.calls == calls + 1
