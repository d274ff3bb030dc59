"""The readers of public sets, with small invented files in their format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.cases import CaseError
from tests.golden.public_sets import load_martian, load_reviewbench

DIFF = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,1 +1,1 @@\n-x = 1\r\n+x = 2\r\n"


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode())


def martian(folder: Path, **known: Any) -> None:
    comments = [
        {"comment": "A lock is missing.", "severity": "High", "category": "concurrency"},
        {"comment": "The comment is wrong.", "severity": "Low", "category": "doc_defect"},
        {"comment": "The name is long.", "severity": "Low", "category": "style"},
    ]
    pull = {"pr_title": "Count visits", "url": "https://github.com/octo/hello/pull/7", "comments": comments}
    other = {**pull, "url": "https://github.com/octo/hello/pull/8", "original_url": "x", "comments": []}
    write(folder / "offline/golden_comments/hello.json", [{**pull, **known}, other])
    write(folder / "diffs/octo_hello_7.diff", DIFF)


def test_martians_comments_are_expected_if_the_profile_has_their_category(tmp_path: Path) -> None:
    martian(tmp_path)
    strict, core = load_martian(tmp_path, "strict"), load_martian(tmp_path, "core")
    assert (strict.name, core.name) == ("martian (strict)", "martian (core)")
    assert strict.without_diff == ("octo_hello_8.diff",)
    (case,) = strict.cases
    assert (case.name, case.title, case.kind) == ("octo_hello_7", "Count visits", "defects")
    assert [(one.about, one.severity, one.expected) for one in case.defects] == [
        ("A lock is missing.", "high", True),
        ("The comment is wrong.", "low", False),
        ("The name is long.", "low", False),
    ]
    assert [one.expected for one in core.cases[0].defects] == [True, True, False]
    assert [(file.path, file.patch) for file in case.files] == [("a.py", "@@ -1,1 +1,1 @@\n-x = 1\r\n+x = 2\r")]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"comments": [{"comment": "c", "severity": "High"}]}, "comments.0.category\n  Field required"),
        ({"comments": [{"comment": "c", "severity": "Worst", "category": "bug"}]}, "Input should be 'critical'"),
        ({"url": "https://example.org/1"}, "'https://example.org/1' is not the address of a pull request"),
    ],
)
def test_martians_files_in_another_format_are_rejected(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    martian(tmp_path, **changes)
    with pytest.raises(CaseError, match=problem.replace("(", "\\(")):
        load_martian(tmp_path, "core")


def reviewbench(folder: Path) -> None:
    pull = {
        "repo": "https://github.com/octo/hello",
        "nwo": "octo/hello",
        "pr_number": "7",
        "base": "b" * 40,
        "head": "0123456789abcdef0123456789abcdef01234567",
        "title": "Count visits",
        "body": None,
        "language": "Python",
    }
    place = {"file": "a.py", "start_line": 3, "end_line": 5, "scope": "introduced-by-pr"}
    findings = [
        {**place, "message": "m1", "severity": "high", "category": "security", "tp_fp": "tp"},
        {**place, "message": "m2", "severity": "low", "category": "reliability", "tp_fp": "tp"},
        {**place, "message": "m3", "severity": "low", "category": "reliability", "tp_fp": "fp"},
    ]
    key = "octo_hello_7-01234567"
    write(folder / "corpus/manifest.json", [pull])
    write(folder / f"golden/{key}.json", {"pr_key": key, "findings": findings})
    write(folder / f"diffs/{key}.diff", DIFF)


def test_true_findings_of_reviewbench_are_expected_at_their_lines(tmp_path: Path) -> None:
    reviewbench(tmp_path)
    found = load_reviewbench(tmp_path)
    (case,) = found.cases
    assert (found.name, found.without_diff) == ("reviewbench", ())
    assert (case.name, case.language, case.description) == ("octo_hello_7-01234567", "Python", "")
    assert [(one.about, one.severity, one.categories, one.expected) for one in case.defects] == [
        ("m1", "high", ("security",), True),
        ("m2", "low", ("bugs", "style"), True),
    ]
    (place,) = case.defects[0].places
    assert (place.path, place.side, place.start_line, place.line, place.quote) == ("a.py", "RIGHT", 3, 5, "")
