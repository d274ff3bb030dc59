"""Histories of a finding through several pushes: what the check says after each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hls_handler.analysis import EarlierVerdict
from tests.review.pushes import Pushes, found, said

REVIEWS = Path(__file__).parents[2] / "docs" / "reviews.md"

BASE = (
    "import os\n\ndef run(x):\n    a = 1\n    b = 2\n    return a\n\ndef other(x):\n    c = 3\n   "
    " return c\n"
)
FAULT = BASE.replace("    b = 2\n", "    b = 2\n    y = eval(x)\n")
EVAL = found("a.py", 6, "    y = eval(x)")


def raised(**known: object) -> Pushes:
    """A pull request with the finding that `y = eval(x)` runs code."""
    pushes = Pushes({"a.py": BASE}, **known)  # type: ignore[arg-type]
    assert pushes.push({"a.py": FAULT}, findings=[EVAL]) == "failure"
    return pushes


def edited(line: str, text: str = FAULT) -> dict[str, str]:
    return {"a.py": text.replace("    y = eval(x)\n", line)}


# --- one push after the finding was raised


@pytest.mark.parametrize(
    ("head", "verdict", "agrees", "check"),
    [
        (
            {"a.py": FAULT, "caller.py": "def call(x):\n    return eval_only_numbers(x)\n"},
            said(1, "fixed", "caller.py", 2, "    return eval_only_numbers(x)"),
            True,
            "success",
        ),
        ({"a.py": BASE.replace("c = 3", "c = 4")}, said(1, "gone"), True, "success"),
        ({"a.py": FAULT.replace("    ", "  ")}, said(1, "gone"), True, "failure"),
        (
            edited("    assert True\n    y = eval(x)\n"),
            said(1, "fixed", "a.py", 6, "    assert True"),
            False,
            "failure",
        ),
        (
            {
                **edited("    y = eval( x )\n"),
                "test_a.py": "def test_run():\n    assert run('2') == 2\n",
            },
            said(1, "fixed", "test_a.py", 2, "    assert run('2') == 2"),
            False,
            "failure",
        ),
    ],
    ids=[
        "a line in another file prevents it",
        "its change is reverted, and its file edited elsewhere",
        "the file is indented anew",
        "a line without an effect is added beside it",
        "the assertion of a test is said to prove the fix",
    ],
)
def test_check_after_one_push(
    head: dict[str, str], verdict: EarlierVerdict, agrees: bool, check: str
) -> None:
    assert raised().push(head, verdicts=[verdict], agrees=agrees) == check


def test_finding_whose_line_moves_into_an_ignored_file_stays_open() -> None:
    head = {"a.py": BASE.replace("c = 3", "c = 4"), "dist/b.py": "y = eval(x)\n"}
    assert raised(ignored=["dist/**"]).push(head, verdicts=[said(1, "gone")]) == "failure"


def test_finding_is_repeated_at_a_place_that_is_not_shown() -> None:
    pushes = raised()
    again = EVAL.model_copy(update={"title": "Again"})
    assert pushes.push({"a.py": FAULT, "b.py": "x = 1\n"}, findings=[again]) == "failure"
    assert pushes.comments == [("a.py", 6)]


def test_finding_stays_open_when_a_rebase_moves_its_line() -> None:
    above = "'''Runs.'''\n\n\n\n"
    assert raised().push({"a.py": above + FAULT}, base={"a.py": above + BASE}) == "failure"


def test_finding_stays_open_when_the_base_splits_its_hunk() -> None:
    more = "    return a\n" + "    # more\n" * 8
    pushes, both = Pushes({"a.py": BASE}), FAULT.replace("    c = 3\n", "    c = 4\n")
    assert pushes.push({"a.py": both}, findings=[EVAL]) == "failure"
    head, base = (text.replace("    return a\n", more) for text in (both, BASE))
    assert pushes.push({"a.py": head}, base={"a.py": base}) == "failure"


# --- several pushes


def test_comment_at_its_line_neither_fixes_a_finding_nor_removes_it() -> None:
    pushes, quote = raised(), "    y = eval(x)  # checked"
    assert pushes.push(edited("    y = eval(x)  # reviewed by security\n")) == "failure"
    head = edited("    y = eval(x)  # by security\n")
    assert pushes.push(head, verdicts=[said(1, "gone")]) == "failure"
    fixed = said(1, "fixed", "a.py", 6, quote)
    assert pushes.push(edited(f"{quote}\n"), verdicts=[fixed], agrees=False) == "failure"


def test_semicolon_at_its_line_does_not_remove_a_finding() -> None:
    pushes = raised()
    assert pushes.push(edited("    y = eval(x);\n")) == "failure"
    assert pushes.push(edited("    y = eval(x) ;\n"), verdicts=[said(1, "gone")]) == "failure"


def test_guard_above_fixes_a_finding_if_the_second_look_agrees_until_it_is_removed() -> None:
    pushes, guard = raised(), "    if not x.isdigit(): return None"
    fixed = said(1, "fixed", "a.py", 5, guard)
    head = {"a.py": FAULT.replace("    a = 1\n", f"    a = 1\n{guard}\n")}
    assert pushes.push(head, verdicts=[fixed], agrees=False) == "failure"
    other = {"a.py": head["a.py"].replace("    c = 3\n", "    c = 4\n")}
    assert pushes.push(other, verdicts=[fixed]) == "success"
    pushes = raised()
    assert pushes.push(head, verdicts=[fixed]) == "success"
    unguarded = said(1, "fixed", "a.py", 6, "    y = eval(x)")
    assert pushes.push({"a.py": FAULT}, verdicts=[unguarded]) == "failure"


def test_finding_whose_line_moves_to_another_file_is_fixed_there() -> None:
    pushes, quote = raised(), "    y = literal_eval(x)"
    head = {"a.py": BASE.replace("c = 3", "c = 4"), "b.py": "def run(x):\n    y = eval(x)\n"}
    assert pushes.push(head, verdicts=[said(1, "gone")]) == "failure"
    head["b.py"] = f"def run(x):\n{quote}\n"
    assert pushes.push(head, verdicts=[said(1, "fixed", "b.py", 2, quote)]) == "success"


def test_finding_is_open_again_when_its_reverted_change_is_made_again() -> None:
    pushes = raised()
    assert pushes.push({"a.py": BASE}) == "success"
    assert pushes.push({"a.py": FAULT}) == "failure"


def test_reverted_finding_is_gone_unless_it_names_another_changed_file() -> None:
    pushes = raised()
    assert pushes.push({"b.py": "def other(x):\n    return 2\n"}) == "success"
    assert pushes.questions == []
    pushes = Pushes({"a.py": BASE})
    named = EVAL.model_copy(update={"body": "`load` of b.py passes text."})
    pushes.push({"a.py": FAULT}, findings=[named])
    assert pushes.push({"b.py": "def load(x):\n    run(x)\n"}) == "failure"


def test_finding_in_a_long_new_file_is_not_fixed_by_its_other_lines() -> None:
    lines = [f"    value_{n} = {n}" for n in range(600)]
    lines[300] = "    y = eval(x)"
    text = "\n".join(["def run(x):", *lines])
    pushes, finding = Pushes({}), found("new.py", 302, "    y = eval(x)")
    assert pushes.push({"new.py": text}, findings=[finding]) == "failure"
    text = text.replace("value_500 = 500", "value_500 = 501")
    old_line = said(1, "fixed", "new.py", 102, "    value_100 = 100")
    assert pushes.push({"new.py": text}, verdicts=[old_line]) == "failure"
    text = text.replace("value_400 = 400", "value_400 = 401")
    assert pushes.push({"new.py": text}, verdicts=[said(1, "gone")]) == "failure"


def test_dismissed_finding_stays_dismissed_until_it_is_worse() -> None:
    pushes, same = raised(), "    y = eval(x)  # fine"
    pushes.act(thumbs_down=("mona",))
    again = found("a.py", 6, same, continues=1)
    assert pushes.push(edited(f"{same}\n"), findings=[again]) == "success"
    assert len(pushes.comments) == 1
    worse = said(1, "present", "a.py", 6, "    y = eval(x + z)")
    worse = worse.model_copy(update={"severity": "critical"})
    assert pushes.push(edited("    y = eval(x + z)\n"), verdicts=[worse]) == "failure"


def test_finding_is_asked_about_after_a_push_for_which_claude_was_down() -> None:
    pushes, quote = raised(), "    y = literal_eval(x)"
    assert pushes.push(edited("    y = run_eval(x)\n"), is_down=True) == "failure"
    fixed = said(1, "fixed", "a.py", 6, quote)
    assert pushes.push(edited(f"{quote}\n"), verdicts=[fixed]) == "success"


def test_histories_in_the_docs_have_these_checks() -> None:
    rows = re.findall(r"^\| (.+?) \|.*\| ([^|]+) \|$", REVIEWS.read_text(), re.MULTILINE)
    split = raised().push(edited("    y = eval(\n        x\n    )\n"), verdicts=[said(1, "gone")])
    quote = "    y = literal_eval(x)"
    fixed = said(1, "fixed", "a.py", 6, quote)
    corrected = raised().push(edited(f"{quote}\n"), verdicts=[fixed])

    deletion = edited("", FAULT.replace("import os\n", ""))
    deleted = raised().push(deletion, verdicts=[said(1, "fixed")], agrees=False)
    another = edited("    y = run_code(x)\n")
    replaced = raised().push(another, verdicts=[said(1, "fixed")], agrees=False)

    pushes, quote = raised(), "    # y = eval(x)"
    fixed = said(1, "fixed", "a.py", 6, quote)
    commented = pushes.push(edited(f"{quote}\n"), verdicts=[fixed])
    removed = pushes.push(edited("    # was: y = eval(x)\n"), verdicts=[said(1, "gone")])

    pushes, quote = raised(), "    y = eval(x.strip())"
    pushes.act(is_resolved=True, resolved_by="mona")
    dismissed = pushes.push(edited("    y = eval(x)\n"), requested="conclude")
    wrong_fix = edited(f"{quote}\n")
    changed = pushes.push(wrong_fix, verdicts=[said(1, "present", "a.py", 6, quote)])
    pushes.act(is_resolved=True, resolved_by="mona")
    again = pushes.push(wrong_fix, requested="conclude")

    histories = {
        "a formatter splits its line": [split],
        "its line is corrected": [corrected],
        "its line is deleted; another one is in its place": [deleted, replaced],
        "its line is commented out": [commented, removed],
        "a writer resolves its thread, then again after a wrong fix": [dismissed, changed, again],
    }
    documented = {name: checks.split(", ") for name, checks in rows if name in histories}
    assert documented == histories


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
