"""Findings in files whose patch GitHub shows only in part or not at all, or of which credentials hide lines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from hls_handler.analysis import Finding, FindingVerdict, FindingVerdicts
from hls_handler.handlers.pull_request_facts import Candidate, PullRequestFacts
from hls_handler.handlers.reader import ChangedFile
from hls_handler.handlers.skipped_files import EMPTY_BLOBS
from hls_handler.review.record import ReviewRecord, ThreadReply
from hls_handler.settings.values import PathFilter
from tests.handlers.test_pull_requests import HANDLER, gather, raised, review, thread
from tests.handlers.world import file, finding, pull_request_analysis

CALL = ["open_it(1)", "run(user)", "close_it(1)"]
FILL = [f"more_{n}(x)" for n in range(20)]
FAR = "@@ -90,2 +{at},3 @@\n here()\n+far()\n there()"
KEY = ["# -----BEGIN PRIVATE KEY-----", "MIIEpAIBAAKCAQEAabcdefghijklmnop0123456789", "# -----END PRIVATE KEY-----"]


def patch(*added: str) -> str:
    lines = "\n".join(f"+{line}" for line in added)
    return f"@@ -1,2 +1,{len(added) + 2} @@\n first()\n{lines}\n last()"


def run(*added: str, path: str = "run.py", part: bool = False, **known: Any) -> ChangedFile:
    """Return a file with these added lines and a later hunk, which is missing if only a `part` is shown."""
    far = "" if part else "\n" + FAR.format(at=90 + len(added))
    return file(path, patch(*added) + far, **{"additions": len(added) + 1, "deletions": 0, **known})


def found(lines: list[str], at: int, title: str = "Shell") -> Finding:
    """Return a finding about added lines that begin at number `at`."""
    return finding(path="run.py", start_line=at, line=at + len(lines) - 1, quote="\n".join(lines), title=title)


def states(record: ReviewRecord) -> list[tuple[str, str]]:
    return [(one.title, one.state) for one in record.ledger]


def asked(facts: PullRequestFacts) -> list[tuple[str, str]]:
    """Return the titles and the code of the findings about which Claude is asked."""
    variables = HANDLER.verification_variables(facts, pull_request_analysis())
    return [(one.title, one.code) for one in cast(tuple[Candidate, ...], variables["candidates"])] if variables else []


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut by GitHub", "private key"])
def test_finding_that_was_raised_in_a_part_is_compared_with_its_own_lines(is_cut: bool) -> None:
    """Its numbers are those of the part, and an earlier finding keeps the lines of the last whole patch."""
    key = () if is_cut else KEY
    record = review(gather(run(*CALL, *FILL)), found(CALL, 2))
    second = ["begin_it(2)", "drop(user)", "end_it(2)"]
    grown = [*FILL[:5], *second, *CALL, *FILL[5:]]
    record = review(gather(run(*grown, *key, part=is_cut), record=record), found(second, 7, "Drop"))
    assert states(record) == [("Shell", "open"), ("Drop", "open")]
    grown = [*FILL[:5], "push(user)", *grown[5:]]
    record = review(gather(run(*grown, *key, part=is_cut), record=record))
    facts = gather(run(*grown), record=record)
    assert asked(facts) == []
    assert states(facts.record) == [("Shell", "open"), ("Drop", "open")]
    edited = [line.replace("end_it(2)", "end_it(3)") for line in grown]
    (candidate,) = asked(gather(run(*edited), record=review(facts)))
    assert (candidate[0], "drop(user)" in candidate[1]) == ("Drop", True)


def test_finding_that_takes_the_lines_of_a_wider_one_in_a_part_is_compared_with_them() -> None:
    record = review(gather(run(*FILL[:9], *CALL)), found(["run(user)"], 12))
    grown = [*FILL[10:15], *FILL[:9], *CALL]
    wider = found(CALL, 16).model_copy(update={"category": "security"})
    record = review(gather(run(*grown, part=True), record=replace(record, rounds=0, reviewed={})), wider)
    assert [entry.quoted_lines for entry in record.ledger] == [range(16, 19)]
    facts = gather(run("begin(1)", *grown[:-1], "close_it(2)"), record=record)
    assert [(title, "run(user)" in code) for title, code in asked(facts)] == [("Shell", True)]


def test_finding_that_moved_to_a_file_that_is_shown_in_part_is_found_there_again() -> None:
    call = ["open_the_database(1)", "run(user, shell=True)", "close_the_database(1)"]
    record = review(gather(run(*call, *FILL), run(*FILL[:5], path="next.py")), found(call, 2))
    moved = [run(*FILL), run(*FILL[:5], *call, path="next.py", part=True)]
    record = review(gather(*moved, record=record))
    assert [(entry.path, entry.line) for entry in record.ledger] == [("next.py", 9)]
    facts = gather(run(*FILL), run("begin(1)", *FILL[:5], *call[:2], "close(2)", path="next.py"), record=record)
    assert [(title, "shell=True" in code) for title, code in asked(facts)] == [("Shell", True)]


@pytest.mark.parametrize("quoted", [CALL, CALL[1:2]], ids=["several lines", "one line"])
@pytest.mark.parametrize("hidden", ["part", "all"])
def test_finding_stays_open_if_its_file_is_renamed_to_be_left_out_and_its_hunk_is_not_shown(
    quoted: list[str], hidden: str
) -> None:
    record = review(gather(run(*CALL)), found(quoted, 2 + CALL.index(quoted[0])))
    left_out = {"ignored_paths": PathFilter(("vendor/**",))}
    text = FAR.format(at=93) if hidden == "part" else None
    moved = file("vendor/run.py", text, additions=4, deletions=0, status="renamed", previous_path="run.py")
    assert states(gather(moved, record=record, limits=left_out).record) == [("Shell", "open")]


@pytest.mark.parametrize("quoted", [CALL, CALL[1:2]], ids=["several lines", "one line"])
@pytest.mark.parametrize("to", ["third.py", "first.py"])
def test_finding_in_a_renamed_file_stays_there_if_that_is_renamed_again_while_no_patch_is_shown(
    quoted: list[str], to: str
) -> None:
    renamed = run(*CALL, status="renamed", previous_path="first.py")
    record = review(gather(renamed), found(quoted, 2 + CALL.index(quoted[0])))
    previous = {"status": "renamed", "previous_path": "first.py"} if to != "first.py" else {}
    hidden = file(to, None, additions=4, deletions=0, **previous)
    copy = run(*CALL, path="copy.py", status="added")
    for files in ((hidden,), (hidden, copy)):
        (entry,) = gather(*files, record=record).record.ledger
        assert (entry.state, entry.line) == ("open", None)


@pytest.mark.parametrize("is_dismissed", [False, True])
def test_finding_whose_lines_change_while_its_file_is_shown_in_part_is_not_raised_again(is_dismissed: bool) -> None:
    record = review(gather(run(*FILL, *CALL)), found(CALL, 22))
    threads = (thread(record.ledger[0].key, replies=(ThreadReply("mona", "won't fix"),) if is_dismissed else ()),)
    now = [*FILL, *CALL[:2], "finish_it(1)", "log_it(1)"]
    facts = gather(run(*now, part=True), record=record, threads=threads, writers=("mona",))
    again = found(now[-4:], 22)
    assert raised(facts, again) == []
    assert states(review(facts, again)) == [("Shell", "dismissed" if is_dismissed else "open")]
    other = found(now[-2:], 24, "Leak")
    assert raised(facts, other) == ["Leak"]


@pytest.mark.parametrize("is_full", [False, True])
def test_finding_in_code_that_moved_while_its_file_is_shown_in_part_is_raised_there(is_full: bool) -> None:
    """Its earlier place may be in the part that is not shown, so that nobody knows whether the code moved."""
    record = review(gather(run(*CALL, *FILL)), found(CALL, 2))
    facts = gather(run(*FILL, *CALL, part=True), record=record)
    assert raised(facts, found(CALL, 22)) == ["Shell"]
    seen = review(facts)
    full = replace(gather(run(*FILL, *CALL, part=True), record=replace(seen, reviewed={})), is_full=is_full)
    full = replace(full, record=replace(full.record, reviewed=seen.reviewed))
    assert raised(full, found(CALL, 22)) == ([] if is_full else ["Shell"])


@pytest.mark.parametrize("quoted", [CALL, CALL[1:2]], ids=["several lines", "one line"])
def test_corrected_finding_in_a_file_with_a_private_key_is_fixed(quoted: list[str]) -> None:
    record = review(gather(run(*CALL, *FILL, *KEY)), found(quoted, 2 + CALL.index(quoted[0])))
    facts = gather(run(CALL[0], "safe(user)", CALL[2], *FILL, *KEY), record=record)
    if len(quoted) > 1:
        assert [title for title, _ in asked(facts)] == ["Shell"]
        corrected = FindingVerdicts(worth_saying=False, verdicts=[FindingVerdict(number=1, is_refuted=True)])
        facts = HANDLER.apply_verification(facts, pull_request_analysis(), corrected)
    assert states(review(facts)) == [("Shell", "fixed")]
    assert not facts.coverage.is_complete


@pytest.mark.parametrize("above", [1, 0], ids=["several lines", "one line"])
def test_finding_stays_open_if_its_line_is_hidden_as_a_part_of_a_private_key(above: int) -> None:
    lines = ["Comment: object = log(user)", "Version: object = run(user)"]
    record = review(gather(run(*lines, *FILL, *KEY)), found(lines[1 - above :], 3 - above))
    facts = gather(run(*FILL, KEY[0], *lines, KEY[2]), record=record)
    assert "run(user)" not in facts.files[0].numbered
    assert states(facts.record) == [("Shell", "open")]


def test_claude_may_report_a_finding_again_whose_line_is_not_found_in_a_part_of_its_file() -> None:
    """Its line may be another one now. If Claude was silent, it would be fixed when the whole patch is shown."""
    record = review(gather(run(*CALL, *FILL)), found(CALL[1:2], 3))
    split = [CALL[0], "run(", "    user,", ")", CALL[2], *FILL]
    for is_part in (True, False):
        assert gather(run(*split, part=is_part), record=record).known_findings == ()
    assert [one.title for one in gather(run(*CALL, *FILL, "x = 1", part=True), record=record).known_findings] == [
        "Shell"
    ]


@pytest.mark.parametrize("quoted", [CALL, CALL[1:2]], ids=["several lines", "one line"])
def test_finding_in_a_file_that_is_empty_now_is_gone_or_moves_with_its_lines(quoted: list[str]) -> None:
    record = review(gather(run(*CALL, status="added")), found(quoted, 2 + CALL.index(quoted[0])))
    empty = file("run.py", None, additions=0, deletions=0, status="added", sha=EMPTY_BLOBS[0])
    other = run("import os", path="other.py", status="added")
    assert states(gather(empty, other, record=record).record) == [("Shell", "gone")]
    (entry,) = gather(empty, run("import os", *CALL, path="other.py", status="added"), record=record).record.ledger
    assert (entry.path, entry.state) == ("other.py", "open")
