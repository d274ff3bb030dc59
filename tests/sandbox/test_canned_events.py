"""Canned replies about workflows, releases, comments and other events."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from hls_handler.analysis import REPLY_TYPES, CommentReply, GenericAnalysis, ReleaseAnalysis, WorkflowAnalysis
from hls_handler.sandbox import derived
from hls_handler.sandbox.canned import canned_reply
from hls_handler.sandbox.reading import Reading


def reply(name: str, **shown: Any) -> Any:
    schema = anthropic.transform_schema(REPLY_TYPES[name].model_json_schema())
    return REPLY_TYPES[name].model_validate(
        canned_reply(schema, Reading(**{"title": "", "body": "", "patches": (), **shown}))
    )


def workflow(*log: str, changed: tuple[str, ...] = ()) -> WorkflowAnalysis:
    analysis = reply("workflow_analysis", log=log, changed=changed)
    assert isinstance(analysis, WorkflowAnalysis)
    return analysis


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            "E       AssertionError: assert 10 == 12",
            "A test expects something else: `AssertionError: assert 10 == 12`.",
        ),
        ("E   KeyError: 'SIZE'", "It ends with an error: `KeyError: 'SIZE'`."),
        ("DTZ005 `now()` without a `tz`", "The check `DTZ005` objects: `now()` without a `tz`."),
        ("src/a.ts(3,7): error TS2322: Type 'x'", "It ends with an error: `src/a.ts(3,7): error TS2322: Type 'x'`."),
        ("##[error]The operation was canceled.", "It ends with an error: `The operation was canceled.`."),
        ("bash: shellcheck: command not found", "It ends with an error: `bash: shellcheck: command not found`."),
        ("FAILED tests/test_a.py::test_b", "It ends with an error: `FAILED tests/test_a.py::test_b`."),
    ],
)
def test_the_first_error_line_of_a_log_is_quoted(line: str, cause: str) -> None:
    analysis = workflow("Run make", "0 errors so far", ">   raise KeyError(key)", line, "make: *** [test] Error 1")
    assert (analysis.worth_saying, analysis.quote, analysis.cause) == (True, line, cause)


@pytest.mark.parametrize(
    "log", [(), ("all is well",), ("##[error]Process completed with exit code 1.", "Error: Process completed with 1")]
)
def test_a_log_without_error_line_is_not_worth_a_comment(log: tuple[str, ...]) -> None:
    analysis = workflow(*log)
    assert (analysis.worth_saying, analysis.quote, analysis.cause, analysis.where) == (False, "", "", [])
    assert analysis.advice == ""


def test_places_are_nearest_to_the_error_or_changed_files_named_like_the_test() -> None:
    analysis = workflow(
        "tests/test_cart.py:41: in test_total",
        "/usr/lib/python3.11/decimal.py:7: in add",
        "shop/cart.py:12: in total",
        "E   TypeError: unsupported operand",
        "<frozen os>:679: TypeError",
        changed=("README.md", "web/cart.js"),
    )
    assert [(place.path, place.line) for place in analysis.where] == [
        ("shop/cart.py", 12),
        ("tests/test_cart.py", 41),
        ("web/cart.js", None),
    ]
    assert analysis.advice == "Begin at `shop/cart.py`, line 12."


def test_a_rerun_is_advised_after_a_network_error() -> None:
    assert workflow("E   ConnectionError: connection reset by peer").advice == "Running it again may be enough."


@pytest.mark.parametrize(
    ("job", "quote"),
    [
        (54110020701, "E       AssertionError: assert Decimal('200') == Decimal('180')"),
        (54110020688, "DTZ005 `datetime.datetime.now()` called without a `tz` argument"),
        (54392771906, "E           KeyError: 'IMPORT_BATCH_SIZE'"),
    ],
)
def test_recorded_logs_get_cause_and_quote(job: int, quote: str) -> None:
    log = (derived.log_of(job) or "").split("\n")
    assert workflow(*(line.partition(" ")[2] for line in log)).quote == quote


def test_an_announcement_lists_features_first() -> None:
    commits = (
        "Release 2.0",
        "Fix a typo",
        "Remove the old page\n\nThe page is gone.",
        "Bump ruff",
        "Fix the total (#4)",
        "Add codes (#3)\n\nThey are checked.",
    )
    analysis = reply("release_analysis", commits=commits)
    assert isinstance(analysis, ReleaseAnalysis)
    assert (analysis.worth_saying, analysis.headline) == (True, "Add codes")
    assert analysis.highlights == ["Add codes", "Fix the total", "Remove the old page"]
    assert analysis.announcement == (
        "What is new:\n\n- Add codes\n- Fix the total\n- Remove the old page\n- Fix a typo\n\nThe page is gone."
    )


def test_without_commits_the_list_of_the_release_text_is_announced() -> None:
    analysis = reply("release_analysis", commits=(), body="## Changes\r\n* Add codes by @mona in #3\r\n* Faster\r\n")
    assert analysis.highlights == ["Add codes", "Faster"]


def test_a_release_with_nothing_but_chores_is_not_worth_an_announcement() -> None:
    analysis = reply("release_analysis", commits=("Release 2.0", "Bump ruff"))
    assert (analysis.worth_saying, analysis.headline, analysis.announcement, analysis.highlights) == (False, "", "", [])


def test_a_newcomer_gets_steps_with_a_file_of_the_conversation() -> None:
    analysis = reply(
        "comment_reply",
        title="It fails",
        comment="How can I start?",
        wants_to_start=True,
        before=("See shop/cart.py.",),
    )
    assert isinstance(analysis, CommentReply)
    assert (analysis.worth_saying, analysis.certain) == (True, True)
    assert analysis.answer.startswith("What is to be done: It fails.\n\n1. ")
    assert "the place to begin is `shop/cart.py`" in analysis.answer


def test_a_question_is_answered_with_the_most_similar_sentence() -> None:
    body = "A small change. Codes take an amount off the total. Nothing else."
    analysis = reply("comment_reply", body=body, comment="Is the amount taken off each code?")
    assert (analysis.worth_saying, analysis.certain) == (True, False)
    assert analysis.answer == "The conversation says: \u201cCodes take an amount off the total.\u201d"


def test_a_question_without_similar_sentence_gets_no_reply() -> None:
    analysis = reply("comment_reply", body="A small change.", comment="When is the next release?")
    assert (analysis.worth_saying, analysis.answer) == (False, "")


def test_a_generic_event_is_summarized_by_its_texts() -> None:
    analysis = reply("generic_analysis", event="push", texts=("Count them\n\nAll.", "Count them", "Mend it"))
    assert isinstance(analysis, GenericAnalysis)
    assert (analysis.worth_saying, analysis.summary, analysis.details) == (True, "push: Count them", "- Mend it")
    silent = reply("generic_analysis", event="create")
    assert (silent.worth_saying, silent.summary, silent.details) == (False, "create happened.", "")
