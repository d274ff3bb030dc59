"""Which verdicts about earlier findings are believed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.analysis import EarlierVerdict, Finding, Verdict
from hls_handler.review.facts import MAX_QUESTIONS
from tests.review.pushes import Pushes, found, said

BASE = "def run(x):\n    a = 1\n    b = 2\n    return a\n"
FAULT = BASE.replace("    b = 2\n", "    b = 2\n    *out = copy(x);\n")
AT = found("a.c", 4, "    *out = copy(x);")
GUARD = "    if (x) return 0;"
GUARDED = FAULT.replace("    a = 1\n", f"    a = 1\n{GUARD}\n")
FIXED = FAULT.replace("copy(x);", "checked(x);")


def raised(tail: str = "", finding: Finding = AT) -> Pushes:
    """A pull request with a finding; `tail` are lines of the base below it."""
    pushes = Pushes({"a.c": f"{BASE}{tail}"})
    assert pushes.push({"a.c": f"{FAULT}{tail}"}, findings=[finding]) == "failure"
    return pushes


def fixed() -> Pushes:
    """A pull request whose finding is fixed by a guard above it."""
    pushes = raised()
    assert pushes.push({"a.c": GUARDED}, verdicts=[said(1, "fixed", "a.c", 3, GUARD)]) == "success"
    return pushes


@pytest.mark.parametrize(
    ("line", "quote", "check"),
    [
        (4, "    *out = copy(x, y);", "failure"),
        (4, "    *out = checked(x);", "failure"),
        (5, "    int n = checked(x);", "success"),
        (1, "def run(x):", "failure"),
        (9, "    nowhere();", "failure"),
    ],
    ids=["not in the patch", "like a comment", "new line", "unchanged line", "nowhere"],
)
def test_fix_is_believed_only_with_a_new_line_of_code(line: int, quote: str, check: str) -> None:
    pushes = raised()
    head = {"a.c": FIXED.replace("checked(x);\n", "checked(x);\n    int n = checked(x);\n")}
    assert pushes.push(head, verdicts=[said(1, "fixed", "a.c", line, quote)]) == check


def test_fix_is_refuted_by_a_finding_of_its_category_at_the_proof() -> None:
    pushes, quote = raised(), "    int n = checked(x);"
    head = {"a.c": FIXED.replace("checked(x);\n", "checked(x);\n    int n = checked(x);\n")}
    again = found("a.c", 5, quote, title="Still wrong", confidence=0.9)
    assert (
        pushes.push(head, verdicts=[said(1, "fixed", "a.c", 5, quote)], findings=[again])
        == "failure"
    )
    assert pushes.entry(1).is_undecided


def test_fix_whose_proof_was_lost_is_asked_about_until_claude_answers() -> None:
    pushes = fixed()
    assert pushes.push({"a.c": FAULT}, is_down=True) == "failure"
    calls = pushes.calls
    assert (
        pushes.push({"a.c": FAULT}, verdicts=[said(1, "present", "a.c", 4, "    *out = copy(x);")])
        == "failure"
    )
    assert pushes.push({"a.c": FAULT}) == "failure"
    assert pushes.calls == calls + 1


def test_finding_that_names_its_number_or_its_line_and_category_continues_it() -> None:
    pushes = raised()
    head = {"a.c": FAULT.replace("copy(x)", "copy(x, 1)")}
    pushes.push(head, findings=[found("a.c", 4, "    *out = copy(x, 1);", title="Other words")])
    head = {"a.c": FAULT.replace("copy(x)", "other(y)")}
    pushes.push(
        head, findings=[found("a.c", 4, "    *out = other(y);", title="Third words", continues=1)]
    )
    assert [(one.number, one.title, one.state) for one in pushes.record.ledger] == [
        (1, "Third words", "open")
    ]
    assert len(pushes.comments) == 1


def test_severity_falls_only_if_the_second_look_agrees() -> None:
    low = said(1, "present", "a.c", 4, "    *out = copy(x, 1);").model_copy(
        update={"severity": "low"}
    )
    head = {"a.c": FAULT.replace("copy(x)", "copy(x, 1)")}
    assert raised().push(head, verdicts=[low], agrees=False) == "failure"
    assert raised().push(head, verdicts=[low]) == "success"


def test_misquoted_finding_counts_for_the_check() -> None:
    pushes = Pushes({"a.c": BASE})
    assert (
        pushes.push({"a.c": FAULT}, findings=[found("a.c", 4, "`*out = copy( X );`")]) == "failure"
    )
    assert pushes.comments == [("a.c", 4)]
    pushes = Pushes({"a.c": BASE})
    assert (
        pushes.push({"a.c": FAULT}, findings=[found("a.c", 90, "nothing like it here")])
        == "failure"
    )
    assert (pushes.comments, pushes.entry(1).line) == ([], None)


def test_questions_are_limited_and_those_left_out_come_first() -> None:
    lines = [f"    call_{n}(x);" for n in range(40)]
    pushes = Pushes({})
    text = "\n\n".join(lines)
    findings = [found("a.c", 2 * n + 1, line, title=f"Fault {n}") for n, line in enumerate(lines)]
    pushes.push({"a.c": text}, findings=findings)
    pushes.push({"a.c": text.replace("(x)", "(x, 1)")})
    first = {*pushes.questions}
    pushes.push({"a.c": text.replace("(x)", "(x, 2)")})
    second = list(pushes.questions)
    assert len(first) == MAX_QUESTIONS
    assert {*range(1, 41)} - first == {*second[:10]}


def test_committed_credential_is_a_finding_until_it_is_gone() -> None:
    pushes, token = Pushes({"a.c": BASE}), "ghp_" + "a1B2" * 9
    assert pushes.push({"a.c": BASE + f'    key = "{token}";\n'}) == "failure"
    assert [one.title for one in pushes.record.ledger] == [
        "A credential of the form github-token is committed: revoke it"
    ]
    assert pushes.push({"a.c": BASE + f'    one = "{token}";\n'}) == "failure"
    assert pushes.push({"a.c": BASE + "    key = read();\n"}) == "success"
    assert pushes.push({"a.c": BASE + f'    key = "{token}";\n'}) == "failure"


def test_second_credential_is_raised_though_the_first_one_is_dismissed() -> None:
    pushes, token = Pushes({"a.c": BASE}), "ghp_" + "a1B2" * 9
    pushes.push({"a.c": BASE + f'    key = "{token}";\n'})
    pushes.threads = [replace(one, thumbs_down=("mona",)) for one in pushes.threads]
    assert pushes.push({"a.c": BASE + f'    one = "{token}";\n'}) == "success"
    both = BASE + f'    one = "{token}";\n    two = "ghp_{"c3D4" * 9}";\n'
    assert pushes.push({"a.c": both}) == "failure"
    assert len(pushes.comments) == 1


def test_private_key_of_which_a_line_is_added_is_a_finding() -> None:
    body = [
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7" + letter * 12 for letter in "abc"
    ]
    marks = ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"]
    pushes = Pushes({"key.pem": "\n".join([marks[0], *body, marks[1]])})
    body[1] = body[1].replace("b", "q")
    assert pushes.push({"key.pem": "\n".join([marks[0], *body, marks[1]])}) == "failure"
    assert pushes.comments == [("key.pem", 3)]


@pytest.mark.parametrize("verdict", ["present", None])
def test_fault_at_the_edited_line_of_a_dismissed_finding_is_another_one_unless_that_is_there(
    verdict: Verdict | None,
) -> None:
    pushes, quote = raised(), "    *out = copy(x, 1);"
    pushes.threads = [replace(one, thumbs_down=("mona",)) for one in pushes.threads]
    head, there = (
        {"a.c": FAULT.replace("copy(x)", "copy(x, 1)")},
        said(1, "present", "a.c", 4, quote),
    )
    check = pushes.push(
        head, findings=[found("a.c", 4, quote, title="Other")], verdicts=[there] if verdict else []
    )
    assert check == ("success" if verdict else "failure")


def test_path_of_a_diff_names_its_file() -> None:
    pushes = Pushes({"src/a.c": BASE})
    assert (
        pushes.push({"src/a.c": FAULT}, findings=[found("b/src/a.c", 4, "    *out = copy(x);")])
        == "failure"
    )
    assert pushes.comments == [("src/a.c", 4)]


def test_finding_of_a_later_review_is_raised_on_an_unchanged_line_beside_a_new_block() -> None:
    first = BASE.replace("    return a", "    return a + b")
    pushes = Pushes({"a.c": BASE})
    pushes.push({"a.c": first})
    assert (
        pushes.push({"a.c": "// c\n" + first}, findings=[found("a.c", 4, "    b = 2")]) == "failure"
    )


def test_finding_stays_open_while_github_leaves_out_the_patch_of_its_file() -> None:
    pushes = raised()
    pushes.omitted = ["a.c"]
    pushes.push({"a.c": FIXED})
    assert pushes.entry(1).state == "open"


def test_finding_at_a_line_without_letters_is_not_gone() -> None:
    pushes, head = Pushes({"a.c": BASE}), BASE.replace("    b = 2\n", "    b = 2\n    })\n")
    assert pushes.push({"a.c": head}, findings=[found("a.c", 4, "    })")]) == "failure"
    assert (
        pushes.push({"a.c": head.replace("    })", "    });")}, verdicts=[said(1, "gone")])
        == "failure"
    )


@pytest.mark.parametrize(("agrees", "check"), [(True, "success"), (False, "failure")])
def test_second_look_decides_about_a_fixed_finding_that_is_reported_beside_its_proof(
    agrees: bool, check: str
) -> None:
    pushes = fixed()
    again = GUARDED.replace("    *out = copy(x);", "    *out = copy(x);  // sure")
    finding = found("a.c", 5, "    *out = copy(x);  // sure")
    assert pushes.push({"a.c": again}, findings=[finding], agrees=agrees) == check
    assert pushes.push({"a.c": again}) == check


def test_new_finding_of_a_later_review_is_about_a_new_block() -> None:
    pushes = Pushes({"a.c": BASE})
    pushes.push({"a.c": FAULT})
    head = {"a.c": FAULT + "    end();\n"}
    assert pushes.push(head, findings=[AT]) == "success"
    assert (
        pushes.push(
            {"a.c": head["a.c"] + "    last();\n"}, findings=[found("a.c", 7, "    last();")]
        )
        == "failure"
    )


def test_no_call_is_made_if_nothing_is_new() -> None:
    pushes = raised()
    assert (pushes.push({"a.c": FAULT}), pushes.calls) == ("failure", 1)
    pushes.push({"a.c": BASE})
    assert pushes.calls == 2  # it took a line away
    assert pushes.push({"a.c": FAULT}) == "failure"
    assert pushes.calls == 2


def test_rebase_beside_the_proof_of_a_fix_costs_no_call() -> None:
    pushes = fixed()
    calls = pushes.calls
    rebased = {"a.c": GUARDED.replace("a = 1", "a = 7")}
    assert pushes.push(rebased, base={"a.c": BASE.replace("a = 1", "a = 7")}) == "success"
    assert pushes.calls == calls


def test_findings_at_two_equal_blocks_stay_there() -> None:
    pushes, head, quote = (
        Pushes({"a.c": BASE * 3}),
        {"a.c": BASE + FAULT + FAULT},
        "    *out = copy(x);",
    )
    pushes.push(head, findings=[found("a.c", 8, quote), found("a.c", 13, quote)])
    pushes.push({"a.c": head["a.c"] + "end();\n"})
    assert [one.line for one in pushes.record.ledger] == [8, 13]
    assert len({one.key for one in pushes.record.ledger}) == 2
    assert pushes.comments == [("a.c", 8), ("a.c", 13)]


FAR = "\n".join(f"    step_{n}(a);" for n in range(12)) + "\n"


@pytest.mark.parametrize("quoted", [None, (4, "    *out = copy(x);")], ids=["none", "its own"])
@pytest.mark.parametrize("agrees", [True, False])
def test_fixed_without_a_new_line_is_gone_if_the_line_is_deleted_and_its_hunk_has_no_new_one(
    quoted: tuple[int, str] | None, agrees: bool
) -> None:
    pushes = Pushes({"a.c": f"{BASE}{FAR}"})
    pushes.push({"a.c": f"{FAULT}{FAR}end();\n"}, findings=[AT])
    head = {"a.c": f"{BASE}{FAR}end(1);\n"}
    assert (
        pushes.push(head, verdicts=[said(1, "fixed", "a.c", *(quoted or ()))], agrees=agrees)
        == "success"
    )
    assert (pushes.entry(1).state, pushes.looks) == ("gone", 0)


@pytest.mark.parametrize(("agrees", "check"), [(True, "success"), (False, "failure")])
def test_fixed_without_a_line_needs_the_second_look_if_its_hunk_has_a_new_line(
    agrees: bool, check: str
) -> None:
    pushes = raised()
    head = {"a.c": BASE.replace("    return a\n", "    write(a);\n    return a\n")}
    assert pushes.push(head, verdicts=[said(1, "fixed")], agrees=agrees) == check
    assert pushes.looks == 1
    assert pushes.entry(1).state == ("gone" if agrees else "open")


def test_fixed_without_a_line_is_not_believed_while_the_code_is_there() -> None:
    pushes = raised()
    head = {"a.c": FAULT.replace("copy(x);", "copy(x); // checked")}
    assert pushes.push(head, verdicts=[said(1, "fixed")]) == "failure"
    assert pushes.looks == 0


def test_reworded_line_is_not_gone_at_a_later_push_to_another_place() -> None:
    pushes = raised(FAR)
    reworded = FAULT.replace("copy(x)", "duplicate(x)")
    pushes.push({"a.c": f"{reworded}{FAR}"})
    assert (
        pushes.push({"a.c": f"{reworded}{FAR}end();\n"}, verdicts=[said(1, "fixed")], agrees=False)
        == "failure"
    )


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a.c", "#include <checked.h>"),
        ("a.c", "# define CHECKED 1"),
        ("a.rs", "    #[serde(skip)]"),
    ],
)
def test_directive_or_attribute_is_code_though_it_begins_like_a_comment(
    path: str, line: str
) -> None:
    texts = {
        "a.c": ("int run(int *out, int x) {\n", "    int z = copy(x);\n", "    return 1;\n}\n"),
        "a.rs": ("struct A {\n", "    key: String,\n", "    other: u8,\n}\n"),
    }
    head, fault, tail = texts[path]
    pushes = Pushes({path: head + tail})
    assert (
        pushes.push({path: head + fault + tail}, findings=[found(path, 2, fault[:-1])]) == "failure"
    )
    verdict = said(1, "fixed", path, 2, line)
    assert pushes.push({path: f"{head}{line}\n{tail}"}, verdicts=[verdict]) == "success"


@pytest.mark.parametrize(
    "text",
    [
        "    /*\n    *out = checked(x);\n    */\n",
        '    q = """\n    *out = checked(x);\n"""\n',
        "    // x\n",
    ],
)
def test_line_of_a_comment_or_string_that_looks_like_one_proves_nothing(text: str) -> None:
    path = "a.py" if '"""' in text else "a.c"
    pushes = Pushes({path: BASE})
    pushes.push({path: FAULT}, findings=[found(path, 4, "    *out = copy(x);")])
    head = {path: BASE.replace("    b = 2\n", f"    b = 2\n{text}")}
    line = next(one for one in text.split("\n") if "out" in one or "//" in one)
    at = head[path].split("\n").index(line) + 1
    assert pushes.push(head, verdicts=[said(1, "fixed", path, at, line)]) == "failure"


@pytest.mark.parametrize("path", ["a.c", "a.sh", "a.lua"])
def test_line_that_looks_like_a_comment_proves_nothing(path: str) -> None:
    pushes = Pushes({path: BASE})
    pushes.push({path: FAULT}, findings=[found(path, 4, "    *out = copy(x);")])
    verdict = said(1, "fixed", path, 4, "    *out = checked(x);")
    assert pushes.push({path: FIXED}, verdicts=[verdict]) == "failure"


@pytest.mark.parametrize("at", [4, 5], ids=["above", "below"])
@pytest.mark.parametrize("fault", ["    *out = copy(x);", "    *out = copy(x); // sure"])
def test_new_line_beside_the_flagged_code_proves_a_fix_only_if_the_second_look_agrees(
    at: int, fault: str
) -> None:
    lines = FAULT.split("\n")
    lines[3] = fault
    lines.insert(at - 1, "    assert(true);")
    verdict = said(1, "fixed", "a.c", at, "    assert(true);")
    refused = raised()
    assert refused.push({"a.c": "\n".join(lines)}, verdicts=[verdict], agrees=False) == "failure"
    assert (refused.looks, refused.entry(1).is_undecided) == (1, True)
    assert raised().push({"a.c": "\n".join(lines)}, verdicts=[verdict]) == "success"


def test_line_in_the_place_of_the_flagged_code_proves_a_fix_without_a_second_look() -> None:
    pushes = raised()
    verdict = said(1, "fixed", "a.c", 4, "    int n = checked(x);")
    head = {"a.c": FIXED.replace("    *out = checked(x);", "    int n = checked(x);")}
    assert pushes.push(head, verdicts=[verdict], agrees=False) == "success"
    assert pushes.looks == 0


def two_claims() -> tuple[Pushes, dict[str, str], list[EarlierVerdict]]:
    """A pull request with two findings, and a push with a claim about each."""
    pushes = Pushes({"a.c": BASE, "b.c": BASE})
    both = [AT, AT.model_copy(update={"path": "b.c"})]
    assert pushes.push({"a.c": FAULT, "b.c": FAULT}, findings=both) == "failure"
    guarded = FAULT.replace("    *out", f"{GUARD}\n    *out")
    verdicts = [said(number, "fixed", path, 4, GUARD) for number, path in ((1, "a.c"), (2, "b.c"))]
    return pushes, {"a.c": guarded, "b.c": guarded}, verdicts


def test_one_second_look_decides_about_all_claims_of_a_review() -> None:
    pushes, head, verdicts = two_claims()
    assert pushes.push(head, verdicts=verdicts) == "success"
    assert pushes.looks == 1


def test_claims_stay_undecided_without_an_answer_of_the_second_look() -> None:
    pushes, head, verdicts = two_claims()
    assert pushes.push(head, verdicts=verdicts, has_look=False) == "failure"
    assert [(one.state, one.is_undecided) for one in pushes.record.ledger] == [("open", True)] * 2


OTHER_HUNK = {"a.c": f"{FAULT}{FAR}    end();\n"}


@pytest.mark.parametrize(
    "known",
    [
        {"quote": "    *out = copy(x);", "title": "Other words"},
        {"quote": "*out=copy( x );", "title": "Other words"},
        {"quote": "    int *out;\n    *out = copy(x);", "title": "Other words"},
        {"quote": "    out_is_not_checked", "title": "it is Wrong"},
        {"quote": "    *out = copy(x);", "title": "Other words", "category": "bugs"},
        {"quote": "    *out = copy(x);", "title": "Other words", "path": "b/a.c"},
    ],
    ids=["quote", "inexact quote", "last line", "title", "other category", "path of a diff"],
)
def test_finding_repeated_without_its_number_at_a_place_that_is_not_shown_continues_the_open_one(
    known: dict[str, str],
) -> None:
    pushes = raised(FAR, AT.model_copy(update={"title": "It is wrong"}))
    again = AT.model_copy(update=known)
    assert pushes.push(OTHER_HUNK, findings=[again]) == "failure"
    assert [one.number for one in pushes.record.ledger] == [1]
    assert pushes.comments == [("a.c", 4)]
    assert pushes.entry(1).line == 4


def test_finding_repeated_about_a_file_that_is_not_shown_continues_the_open_one() -> None:
    pushes = raised()
    assert pushes.push({"a.c": FAULT, "b.c": BASE}, findings=[AT]) == "failure"
    assert [one.number for one in pushes.record.ledger] == [1]


def test_finding_repeated_at_its_own_line_continues_it_though_an_equal_line_is_new() -> None:
    pushes = raised(FAR)
    head = {"a.c": f"{FAULT}{FAR}    *out = copy(x);\n"}
    pushes.push(head, findings=[AT.model_copy(update={"title": "Other words"})])
    assert [one.number for one in pushes.record.ledger] == [1]


def test_dismissed_finding_that_is_repeated_without_its_number_stays_dismissed() -> None:
    pushes = raised(FAR)
    pushes.act(thumbs_down=("mona",))
    assert pushes.push(OTHER_HUNK, findings=[AT]) == "success"
    assert [one.state for one in pushes.record.ledger] == ["dismissed"]


def test_finding_repeated_without_its_number_continues_an_open_one_before_a_dismissed_one() -> None:
    pushes = Pushes({"a.c": f"{BASE}{FAR}"})
    second = AT.model_copy(update={"line": 5})
    twice = FAULT.replace(f"{AT.quote}\n", f"{AT.quote}\n" * 2)
    pushes.push({"a.c": f"{twice}{FAR}"}, findings=[AT, second])
    pushes.act(thumbs_down=("mona",))
    worse = AT.model_copy(update={"severity": "critical"})
    pushes.push({"a.c": f"{twice}{FAR}    end();\n"}, findings=[worse])
    assert [(one.number, one.state, one.severity) for one in pushes.record.ledger] == [
        (1, "dismissed", "high"),
        (2, "open", "critical"),
    ]


def test_finding_with_another_quote_and_title_at_a_place_that_is_not_shown_is_new() -> None:
    pushes = raised(FAR)
    pushes.push(OTHER_HUNK, findings=[found("a.c", 3, "    b = 2", title="B is lost")])
    assert [one.title for one in pushes.record.ledger] == [AT.title, "B is lost"]


def test_misquoted_new_fault_with_the_title_of_an_open_finding_is_another_one() -> None:
    pushes = raised(FAR)
    pushes.push(OTHER_HUNK, findings=[found("a.c", 18, "nothing like it here", title=AT.title)])
    assert [one.number for one in pushes.record.ledger] == [1, 2]


def test_new_fault_at_a_line_equal_to_that_of_a_finding_whose_line_changed_is_no_other_category() -> (
    None
):
    pushes = raised()
    head = {"a.c": FIXED.replace("    return a\n", "    *out = copy(x);\n    return a\n")}
    pushes.push(
        head,
        findings=[found("a.c", 5, "    *out = copy(x);", category="bugs", title="Other words")],
    )
    assert [one.category for one in pushes.record.ledger] == ["security", "bugs"]


def test_fixed_finding_that_is_reported_as_more_severe_is_open_without_a_second_look() -> None:
    pushes = fixed()
    again = GUARDED.replace("    *out = copy(x);", "    *out = copy(x);  // sure")
    worse = found("a.c", 5, "    *out = copy(x);  // sure").model_copy(
        update={"severity": "critical"}
    )
    assert pushes.push({"a.c": again}, findings=[worse]) == "failure"
    assert pushes.looks == 0
