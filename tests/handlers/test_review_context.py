"""Context of a review: guidance, linked issues, linguist attributes, and the lines around hunks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from hls_handler.errors import DependencyDown, Permanent, Retryable, StepFailed
from hls_handler.github.values import ChangedFile, GuidanceFile, LinkedIssue
from hls_handler.handlers import pull_requests
from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.pull_requests import PullRequestHandler, describe_context
from hls_handler.handlers.reader import EMPTY_HISTORY, EmptyHistory
from hls_handler.review.changed_files import show_files
from hls_handler.review.facts import PullRequestFacts
from hls_handler.review.patches import parse_numbered
from hls_handler.review.record import ReviewRecord
from hls_handler.review.surroundings import read_surroundings
from hls_handler.settings.path_globs import EMPTY_PATH_FILTER, PathFilter
from hls_handler.settings.sections import ReviewSettings
from tests.engine.stand_in import StandIn
from tests.handlers.world import (
    event,
    file,
    finding,
    issue,
    open_github,
    pull_request,
    pull_request_analysis,
    select,
)

HANDLER = PullRequestHandler()
LIMITS = PromptLimits(10_000, is_review=True)
GUIDANCE = (GuidanceFile("AGENTS.md", "Prices are in cents."),)
ISSUE = issue(title="Wrong price", body="It is 100 times too high.")
BASE_FILES = {".gitattributes": "*.api.py linguist-generated", "AGENTS.md": "Prices are in cents."}
TEXT = (
    "def area(side):\n"
    + "".join(f"    x = {number}\n" for number in range(2, 9))
    + "    return side ** 2\n"
)
DEEP = file(
    "area.py",
    "@@ -7,3 +7,3 @@\n     x = 7\n     x = 8\n-    return side * 2\n+    return side ** 2",
)


def gather(
    github: StandIn, limits: PromptLimits = LIMITS, *, history: EmptyHistory = EMPTY_HISTORY
) -> PullRequestFacts:
    reader = github.reader("octo/hello")
    return pull_requests.gather(FactSource(event(pull_request()), reader, history, limits))


def with_context(
    *files: ChangedFile, base_ref: str = "main", base_files: Mapping[str, str] = BASE_FILES
) -> StandIn:
    now = pull_request(base_ref=base_ref, body="Fixes #7.")
    github = open_github(now, files or (DEEP,), head_files={"area.py": TEXT}, base_files=base_files)
    github.put_issue(ISSUE)
    return github


def test_guidance_and_linked_issues_of_the_base_branch_are_variables() -> None:
    variables = HANDLER.variables(gather(with_context(base_ref="release/2")))
    issues = (LinkedIssue(7, "Wrong price", "It is 100 times too high."),)
    assert (variables["guidance"], variables["linked_issues"]) == (GUIDANCE, issues)


def test_rule_11_a_file_of_the_base_branch_leaves_out_generated_files() -> None:
    facts = gather(with_context(DEEP, file("user.api.py")))
    assert [(one.path, one.reason) for one in facts.selection.skipped] == [
        ("user.api.py", "generated")
    ]
    assert facts.context.attributes == ""  # not stored with the facts


def test_a_change_of_files_that_only_attributes_can_include_is_reviewed() -> None:
    base_files = {".gitattributes": "uv.lock -linguist-generated"}
    facts = gather(with_context(file("uv.lock"), base_files=base_files))
    assert [changed.path for changed in facts.files] == ["uv.lock"]


def test_nothing_is_read_if_there_is_nothing_to_ask() -> None:
    asked = gather(with_context())
    blocks = {
        path: tuple(one.block for one in placed) for path, placed in asked.selection.blocks.items()
    }
    record = ReviewRecord(rounds=1, blocks=blocks)
    again = with_context()
    images = with_context(file("logo.png", None, additions=0, deletions=0))
    for github, history in ((again, EmptyHistory(reviewed=record)), (images, EMPTY_HISTORY)):
        facts = gather(github, history=history)
        assert facts.selection.calls == ()
        assert github.calls == ["GET /pulls/8", "GET /pulls/8/files"]
        assert describe_context(facts) == ""


@pytest.mark.parametrize(
    ("has_guidance", "described"),
    [(True, "AGENTS.md (about 6 tokens), "), (False, "")],
)
def test_settings_switch_guidance_off(has_guidance: bool, described: str) -> None:
    facts = gather(with_context(), replace(LIMITS, review=ReviewSettings(guidance=has_guidance)))
    others = "issue #7 (about 11 tokens), lines around 1 hunk (about 34 tokens)"
    assert describe_context(facts) == f"{described}{others}"


def down(*, applies_to_all_calls: bool) -> DependencyDown:
    return DependencyDown(
        "502", dependency="github", remedy="wait", applies_to_all_calls=applies_to_all_calls
    )


@pytest.mark.parametrize(
    "error", [Permanent("403"), Retryable("complexity"), down(applies_to_all_calls=False)]
)
def test_a_context_that_cannot_be_read_does_not_stop_the_review(error: StepFailed) -> None:
    files = (DEEP, file("uv.lock"))  # `.gitattributes` may include the second one
    github = open_github(pull_request(), files, head_files={"area.py": TEXT})
    github.raise_once(error, "POST /graphql")
    facts = gather(github)
    assert [(one.path, one.is_complete) for one in facts.coverage.files] == [
        ("area.py", True),
        ("uv.lock", False),
    ]
    assert [one.path for one in facts.files] == ["area.py"]
    assert describe_context(facts) == (
        "lines around 1 hunk (about 34 tokens), "
        f"not guidance, linked issues and .gitattributes: {error}"
    )


def test_an_outage_while_the_context_is_read_is_retried() -> None:
    github = open_github(pull_request(), (DEEP,))
    github.raise_once(down(applies_to_all_calls=True), "POST /graphql")
    with pytest.raises(DependencyDown):
        gather(github)


def test_a_short_file_is_shown_as_a_whole_and_as_one_hunk() -> None:
    github = with_context(
        DEEP,
        file("new.py", status="added"),
        file("gone.py", status="removed"),
        file("first_line.py"),
    )
    github.mirrors.is_enabled = False
    github.put_files(pull_request().head_sha, {"area.py": TEXT})
    facts = gather(github)
    assert (describe_context(facts) or "").endswith(
        "not other places of the repository: mirror.enabled is false"
    )
    shown = next(one for one in facts.files if one.path == "area.py")
    assert shown.numbered.split("\n") == [
        "@@ -1,9 +1,9 @@",
        "R    1   def area(side):",
        *(f"R    {number}       x = {number}" for number in range(2, 9)),
        "L    9 -     return side * 2",
        "R    9 +     return side ** 2",
    ]
    assert [line.number for line in facts.selection.patches["area.py"].lines] == [7, 8, 9, 9]


def test_files_that_cannot_be_read_are_a_reason_why_other_places_are_missing() -> None:
    github = with_context()
    github.mirrors.is_enabled = False
    github.raise_once(Permanent("403"), "POST /graphql")
    files = github.reader("octo/hello").files_at(pull_request().head_sha)
    changed = read_surroundings(
        select(DEEP), files, EMPTY_PATH_FILTER, tokens=1_000, max_tokens=1_000
    )
    assert (changed.calls, changed.unsearched) == (select(DEEP).calls, "403")


@pytest.mark.parametrize(
    ("tokens", "max_tokens", "lines"), [(1_000, 1_000, 10), (1_000, 50, 6), (150, 1_000, 4)]
)
def test_lines_around_take_only_the_room_that_settings_and_patches_leave(
    tokens: int, max_tokens: int, lines: int
) -> None:
    selection = select(DEEP, tokens=1_000)
    files = with_context().reader("octo/hello").files_at(pull_request().head_sha)
    changed = read_surroundings(
        selection, files, EMPTY_PATH_FILTER, tokens=tokens, max_tokens=max_tokens
    )
    assert changed.calls == selection.calls
    shown = show_files(changed, changed.calls[0])[0].numbered
    assert len(parse_numbered(shown).lines) == lines


@pytest.mark.parametrize(
    ("path", "unsearched"),
    [
        ("area.py", "area.py could not be read: over 2 MB, or no text"),
        ("towns.json", "towns.json could not be read: over 2 MB, or no text"),
        ("docs/towns.md", ""),
    ],
)
def test_a_changed_file_over_2_mb_is_named_as_not_read_if_it_may_have_places(
    path: str, unsearched: str
) -> None:
    github = open_github(pull_request(), head_files={path: "x" * 2_000_001})
    files = github.reader("octo/hello").files_at(pull_request().head_sha)
    selection = select(file(path, '@@ -1 +1 @@\n-  "town": 1\n+  "city": 1'))
    changed = read_surroundings(selection, files, EMPTY_PATH_FILTER, tokens=1_000, max_tokens=1_000)
    assert changed.unsearched == unsearched


CALLER = file("shop.py", "@@ -1,2 +1,2 @@\n def total():\n-    return 1\n+    return area(2)")
OTHER = {"area.py": TEXT, "shop.py": "def total():\n    return area(2)\n"}


def test_other_places_are_shown_with_the_part_that_they_belong_to() -> None:
    github = open_github(pull_request(), (CALLER, file("readme.md")), head_files=OTHER)
    facts = gather(github)
    assert [(site.kind, site.path, site.line) for site in facts.second_sites] == [
        ("definition", "area.py", 1)
    ]
    assert describe_context(facts) == "1 definition (about 54 tokens)"
    assert HANDLER.variables(facts)["second_sites"] == facts.second_sites
    off = gather(github, replace(LIMITS, review=ReviewSettings(context_tokens=0)))
    assert off.second_sites == ()
    assert (
        gather(github, replace(LIMITS, review=ReviewSettings(context_tokens=60))).second_sites == ()
    )
    assert (
        gather(github, replace(LIMITS, ignored_paths=PathFilter(("area.py",)))).second_sites == ()
    )


@pytest.mark.parametrize(
    ("rests_on", "inline"),
    [
        ([], 1),
        (["    return side ** 2"], 1),
        (["R    9       return side ** 2"], 1),
        (["def total():", "    x = 7"], 1),
        (["    return side ** 3"], 0),
    ],
)
def test_a_finding_that_rests_on_a_line_that_was_not_shown_is_only_in_the_comment(
    rests_on: list[str], inline: int
) -> None:
    found = finding(path="shop.py", line=2, quote="    return area(2)", rests_on=rests_on)
    facts = gather(open_github(pull_request(), (CALLER,), head_files=OTHER))
    facts = facts.with_reply(pull_request_analysis(findings=[found]))
    assert (len(facts.findings.raised), len(facts.findings.inline)) == (1, inline)


KEY = "\n".join(
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        *["    MIIEpAIBAAKCAQEA7bq98Jq0tnrKTQe8Xo9U3mVwPz5yR2aGhLsD4fCk1xNvBt6W"] * 4,
        "    -----END RSA PRIVATE KEY-----",
    ]
)


@pytest.mark.parametrize("lines", [0, 300], ids=["whole file", "block"])
def test_rule_10_a_key_around_a_hunk_is_redacted(lines: int) -> None:
    text = "x = 0\n" * lines + f'def sign():\n    key = """\n    {KEY}\n    """\n    return 2\n'
    number = lines + 10
    patch = f"@@ -{number} +{number} @@\n-    return 1\n+    return 2"
    github = open_github(pull_request(), (file("sign.py", patch),), head_files={"sign.py": text})
    (shown,) = gather(github).files
    assert f"R {lines + 3:>4}       [redacted: private-key]" in shown.numbered
    assert f"R {number:>4} +     return 2" in shown.numbered
    assert "MIIE" not in shown.numbered


def test_rule_10_a_key_in_another_place_is_redacted() -> None:
    other = f'def area(side):\n    key = """\n    {KEY}\n    """\n    return side\n'
    files = {**OTHER, "area.py": other}
    facts = gather(open_github(pull_request(), (CALLER,), head_files=files))
    (site,) = facts.second_sites
    assert "[redacted: private-key]" in site.text
    assert "MIIE" not in site.text


SIGNED = ["x = 0"] * 30 + KEY.split("\n") + ["", "def sign():", "    return 2"]
"""Lines of a file with a key; its lines 33 to 35 are of the key, and 36 is its last."""


def hunk_in_key(lines: list[str], heading: str = "") -> ChangedFile:
    """A change of the last line, whose hunk begins at line 33."""
    context = "\n".join(f" {line}" for line in lines[32:-1])
    header = f"@@ -33,{len(lines) - 32} +33,{len(lines) - 32} @@{heading}"
    return file("sign.py", f"{header}\n{context}\n-    return 1\n+    return 2")


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("end", ["", '\\n" \\'])
def test_rule_10_a_hunk_that_begins_inside_a_key_is_redacted(end: str, is_read: bool) -> None:
    lines = [line.replace("xNvBt6W", f"xNvBt6W{end}") for line in SIGNED]
    changed = hunk_in_key(lines, heading=" MIIEpAIBAAKCAQEA7bq98Jq0tnrKTQe8Xo9U3mVwPz5y")
    head_files = {}
    if is_read:
        head_files["sign.py"] = "\n".join(lines) + "\n"
    facts = gather(open_github(pull_request(), (changed,), head_files=head_files))
    (shown,) = facts.files
    assert "MIIE" not in shown.numbered
    assert "\nR   35       [redacted: private-key]\n" in shown.numbered
    assert "\nR   37   \nR   38   def sign():\n" in shown.numbered
    assert ("R    1   x = 0" in shown.numbered) == is_read
    assert facts.credentials == ()


def test_rule_10_an_added_line_of_a_key_that_begins_above_its_hunk_is_a_finding() -> None:
    lines = [*SIGNED[:34], "    " + "QUJD" * 16, *SIGNED[35:]]
    patch = (
        f"@@ -33,4 +33,4 @@\n {lines[32]}\n {lines[33]}\n-{SIGNED[34]}\n+{lines[34]}\n {lines[35]}"
    )
    changed = file("sign.py", patch)
    head_files = {"sign.py": "\n".join(lines)}
    facts = gather(open_github(pull_request(), (changed,), head_files=head_files))
    (shown,) = facts.files
    assert ("MIIE" in shown.numbered, "QUJD" in shown.numbered) == (False, False)
    assert "L   35 -     [redacted: private-key]" in shown.numbered
    assert [(one.line, one.form) for one in facts.credentials] == [(35, "private-key")]


def test_lines_like_a_key_at_the_begin_of_a_hunk_are_shown_if_the_file_has_no_key() -> None:
    lines = [line.replace("RSA PRIVATE KEY", "CERTIFICATE") for line in SIGNED]
    head_files = {"sign.py": "\n".join(lines)}
    changed = hunk_in_key(lines)
    shown = gather(open_github(pull_request(), (changed,), head_files=head_files)).files[0]
    assert f"R   33   {lines[32]}\n" in shown.numbered


def test_finding_at_a_line_around_a_hunk_is_listed_without_a_line() -> None:
    found = finding(path="area.py", line=3, quote="    x = 3")
    facts = gather(with_context()).with_reply(pull_request_analysis(findings=[found]))
    assert "R    3       x = 3" in facts.files[0].numbered
    ((entry, _),) = facts.findings.raised
    assert (entry.path, entry.line, facts.findings.inline) == ("area.py", None, ())
