"""The readers of public sets, with small invented files in their format."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.prompting.prompt import Library
from hls_handler.sandbox.claude import Asked
from tests.github_fake.server import Sandbox
from tests.golden.cases import PublicPull
from tests.golden.evaluate import main
from tests.golden.public_sets import load_martian, load_reviewbench
from tests.handlers.world import finding, pull_request_analysis

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
    pull = {
        "pr_title": "Count visits",
        "url": "https://github.com/octo/hello/pull/7",
        "comments": comments,
    }
    other = {
        **pull,
        "url": "https://github.com/octo/hello/pull/8",
        "original_url": "x",
        "comments": [],
    }
    write(folder / "offline/golden_comments/hello.json", [{**pull, **known}, other])


def test_martians_comments_are_expected_if_the_profile_has_their_category(tmp_path: Path) -> None:
    martian(tmp_path)
    strict, core = load_martian(tmp_path, "strict"), load_martian(tmp_path, "core")
    assert (strict.name, core.name) == ("martian (strict)", "martian (core)")
    case, clean = strict.cases
    assert (case.name, case.kind, clean.kind) == ("octo_hello_7", "defects", "clean")
    assert case.public == PublicPull(repository="octo/hello", number=7)
    assert [(one.about, one.severity, one.expected) for one in case.defects] == [
        ("A lock is missing.", "high", True),
        ("The comment is wrong.", "low", False),
        ("The name is long.", "low", False),
    ]
    assert [one.expected for one in core.cases[0].defects] == [True, True, False]


def reviewbench(folder: Path, diff: str = DIFF, **known: Any) -> None:
    pull = {
        "repo": "https://github.com/octo/hello",
        "nwo": "octo/hello",
        "pr_number": 7,
        "base": "b" * 40,
        "head": "0123456789abcdef0123456789abcdef01234567",
        "title": "Count visits",
        "body": None,
        "language": "Python",
        **known,
    }
    place = {"file": "a.py", "start_line": 3, "end_line": 5, "scope": "introduced-by-pr"}
    findings = [
        {**place, "message": "m1", "severity": "high", "category": "security", "tp_fp": "tp"},
        {**place, "message": "m2", "severity": "low", "category": "reliability", "tp_fp": "tp"},
        {**place, "message": "m3", "severity": "low", "category": "reliability", "tp_fp": "fp"},
    ]
    key, other = (
        f"{pull['nwo'].replace('/', '_')}_{number}-{pull['head'][:8]}"
        for number in (pull["pr_number"], 8)
    )
    write(folder / "corpus/manifest.json", [pull, {**pull, "pr_number": 8}])
    write(folder / "corpus/test/test.json", [pull])
    write(folder / f"golden/{key}.json", {"pr_key": key, "findings": findings})
    write(folder / f"diffs/{key}.diff", diff)
    write(folder / f"golden/{other}.json", {"findings": []})


def test_true_findings_of_reviewbench_are_expected_at_their_lines(tmp_path: Path) -> None:
    reviewbench(tmp_path)
    found, test_set = load_reviewbench(tmp_path), load_reviewbench(tmp_path, "test/test.json")
    assert (found.name, found.without_diff) == ("reviewbench", ("octo_hello_8-01234567.diff",))
    assert (test_set.name, test_set.without_diff, test_set.cases) == (
        "reviewbench (test set)",
        (),
        found.cases,
    )
    (case,) = found.cases
    assert (case.name, case.language, case.description) == ("octo_hello_7-01234567", "Python", "")
    assert case.public == PublicPull(
        repository="octo/hello", number=7, head="0123456789abcdef0123456789abcdef01234567"
    )
    assert [(file.path, file.patch) for file in case.files] == [
        ("a.py", "@@ -1,1 +1,1 @@\n-x = 1\r\n+x = 2\r")
    ]
    assert [(one.about, one.severity, one.categories, one.expected) for one in case.defects] == [
        ("m1", "high", ("security",), True),
        ("m2", "low", ("bugs", "style"), True),
    ]
    (place,) = case.defects[0].places
    assert (place.path, place.side, place.start_line, place.line, place.quote) == (
        "a.py",
        "RIGHT",
        3,
        5,
        "",
    )


# --- the pull requests, as the service reads them
# --------------------------------------------------------------------

OPENED = recorded.load("pull_request.opened")
TAX = "def tax(price, rate):\n    return price * rate\n"
FILES = {
    "tax.py": TAX,
    "shop.py": "from tax import tax\n\n\ndef total(price):\n    return price + tax(price)\n",
}
PATCH = (
    "@@ -1,2 +1,2 @@\n-def tax(price):\n-    return price\n+def tax(price, rate):\n+    return"
    " price * rate"
)
CHANGED = [
    {"filename": "tax.py", "status": "modified", "additions": 2, "deletions": 2, "patch": PATCH}
]
REPOSITORY, NUMBER = "Codertocat/Hello-World", OPENED.payload["pull_request"]["number"]


def answer(asked: Asked) -> Any:
    fields = asked.schema["properties"] if asked.schema else {}
    if "matches" in fields:
        return {"matches": [{"defect": 0, "finding": 0}]}
    if "verdicts" in fields:
        return {"verdicts": []}
    wrong = finding(path="tax.py", line=1, quote="def tax(price, rate):", confidence=1.0)
    return pull_request_analysis(findings=[wrong]).model_dump(mode="json")


@pytest.mark.parametrize("name", ["martian", "reviewbench-test"])
def test_pull_request_of_a_public_set_is_read_as_by_the_service(
    name: str,
    tmp_path: Path,
    library: Library,
    write_config: Callable[[Sandbox], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Sandbox(answer=answer) as sandbox:
        head = sandbox.git.commit(REPOSITORY, FILES)
        payload = copy.deepcopy(dict(OPENED.payload))
        payload["pull_request"] |= {"body": "Taxes differ.", "state": "closed"}
        if name == "martian":
            payload["pull_request"]["head"]["sha"] = head
            martian(tmp_path, url=f"https://github.com/{REPOSITORY}/pull/{NUMBER}")
        else:
            diff = f"diff --git a/tax.py b/tax.py\n{PATCH}\n"
            reviewbench(
                tmp_path, diff, nwo=REPOSITORY, pr_number=NUMBER, head=head, body="Taxes differ."
            )
        sandbox.state.seed("pull_request", payload, files=CHANGED)
        arguments = [
            "--config",
            str(write_config(sandbox)),
            "--output",
            str(tmp_path / "eval.json"),
            "--runs",
            "1",
        ]
        arguments += ["--judge", "claude-haiku-5-5", "--set", f"{name}:{tmp_path}"]
        assert main(arguments, load_prompts=lambda _settings: library) == 0
        asked = json.dumps([one.body for one in sandbox.requests.all("claude")])
    assert "Taxes differ." in asked
    assert "return price + tax(price)" in asked
    left_out = [
        line.split(":")[:2] for line in capsys.readouterr().out.split("\n") if "left out" in line
    ]
    assert left_out == ([["octo_hello_8", " left out"]] if name == "martian" else [])
