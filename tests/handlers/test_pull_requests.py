"""Handler for pull requests: facts, labels, the comment and its variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.actions import Action, EnsureComment, EnsureLabels, RequestedLabel
from hls_handler.analysis import Analysis, Finding, PullRequestAnalysis
from hls_handler.handlers.earlier_findings import dump_earlier, parse_earlier, remember
from hls_handler.handlers.handler import PromptLimits, SkipReason
from hls_handler.handlers.labels import SHIPPED_LABELS
from hls_handler.handlers.pull_requests import (
    PatchedFile,
    PullRequestFacts,
    PullRequestHandler,
    Reason,
    ShownFinding,
    SkippedFile,
    count_reasons,
    select_files,
)
from hls_handler.handlers.reader import EMPTY_HISTORY, ChangedFile
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.patches import parse_numbered
from hls_handler.settings.model import Findings
from hls_handler.settings.values import PathFilter, Summary
from hls_handler.untrusted.cleaning import LONGEST_TEXT
from tests.handlers.events import FakeHistory
from tests.handlers.world import (
    PATCH,
    FakeReader,
    analysis,
    event,
    file,
    finding,
    issue_response,
    pull_request,
    pull_request_analysis,
)

BUDGET = 100_000


def long(path: str, lines: int, *, hunks: int = 1) -> ChangedFile:
    """A file whose lines take 10 tokens each (35 characters when numbered)."""
    parts = [f"@@ -0,0 +{1 + 100 * i} @@\n" + "\n".join(["+" + "x" * 25] * lines) for i in range(hunks)]
    return file(path, "\n".join(parts), additions=lines * hunks, deletions=0)


def shown(*files: ChangedFile, tokens: int = BUDGET) -> list[str]:
    return [patched.path for patched in select_files(files, tokens=tokens)[0]]


def skipped(*files: ChangedFile, tokens: int = BUDGET) -> dict[str, str]:
    return {omitted.path: omitted.reason for omitted in select_files(files, tokens=tokens)[1]}


def test_a_patch_is_shown_numbered_with_the_data_of_the_file() -> None:
    renamed = file("area.py", status="renamed", previous_path="old.py")
    assert select_files([renamed], tokens=BUDGET) == (
        (
            PatchedFile(
                path="area.py",
                previous_path="old.py",
                status="renamed",
                additions=1,
                deletions=1,
                numbered=(
                    "@@ -1,2 +1,2 @@\n"
                    "R    1   def area(side):\n"
                    "L    2 -     return side * 2\n"
                    "R    2 +     return side ** 2"
                ),
                cut=False,
            ),
        ),
        (),
    )


def test_an_unknown_status_is_shown_as_changed() -> None:
    assert select_files([file(status="teleported")], tokens=BUDGET)[0][0].status == "changed"


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"path": "logo.png", "patch": None, "additions": 0, "deletions": 0}, "binary or empty"),
        ({"path": "empty.py", "patch": "", "additions": 0, "deletions": 0, "status": "added"}, "binary or empty"),
        ({"path": "big.py", "patch": None, "additions": 20_000, "deletions": 0}, "too large for GitHub to show"),
        (
            {"path": "b.py", "patch": None, "status": "renamed", "additions": 0, "deletions": 0},
            "renamed without changes",
        ),
    ],
)
def test_a_file_without_a_patch_is_skipped(known: dict[str, Any], reason: Reason) -> None:
    assert select_files([file(**known)], tokens=BUDGET) == ((), (SkippedFile(known["path"], reason),))


@pytest.mark.parametrize(
    ("reason", "paths"),
    [
        (
            "lock file",
            [
                "package-lock.json",
                "web/yarn.lock",
                "pnpm-lock.yaml",
                "Cargo.lock",
                "poetry.lock",
                "uv.lock",
                "Pipfile.lock",
                "composer.lock",
                "Gemfile.lock",
                "go.sum",
                "bun.lockb",
                "bun.lock",
            ],
        ),
        ("minified", ["static/app.min.js", "a.min.css", "app.js.map"]),
        (
            "generated",
            ["dist/index.js", "api/user_pb2.py", "user.pb.go", "ui/__snapshots__/a.js", "a.snap", "x.g.dart"],
        ),
        ("vendored", ["vendor/lib/a.go", "web/node_modules/a/index.js", "third_party/zlib/zlib.c"]),
    ],
)
def test_files_that_are_not_hand_written_are_skipped(reason: str, paths: list[str]) -> None:
    assert skipped(*(file(path) for path in paths)) == dict.fromkeys(paths, reason)


def test_files_with_similar_names_are_shown() -> None:
    paths = [
        "lock.py",
        "src/vendors.py",
        "distance.py",
        "package.json",
        "admin.js",
        "go.mod",
        "generate.py",
        "my-yarn.lock",
    ]
    assert sorted(shown(*(file(path) for path in paths))) == sorted(paths)


def test_files_are_ordered_source_tests_documentation_removed() -> None:
    given_by_github = [
        file("README.md"),
        file("gone.py", status="removed"),
        file("tests/test_area.py"),
        file("settings.yaml"),
        file(".github/workflows/ci.yml"),
        file("src/area.py"),
        file("src/area_test.go"),
        file("Makefile"),
        file("docs/guide.html"),
        file("ui/button.spec.ts"),
    ]
    assert shown(*given_by_github) == [
        ".github/workflows/ci.yml",
        "src/area.py",
        "Makefile",
        "tests/test_area.py",
        "src/area_test.go",
        "ui/button.spec.ts",
        "README.md",
        "settings.yaml",
        "docs/guide.html",
        "gone.py",
    ]


def test_a_huge_file_is_cut_and_does_not_displace_small_ones() -> None:
    files, ignored_paths = select_files(
        [long("a_huge.py", 90, hunks=20), long("b.py", 10), long("c.py", 10)], tokens=3_000
    )
    assert [(f.path, f.cut) for f in files] == [("a_huge.py", True), ("b.py", False), ("c.py", False)]
    assert ignored_paths == ()
    assert files[0].numbered.endswith("\n[cut here: 1620 more changed lines of this file are not shown]")
    assert [len(hunk.lines) for hunk in parse_numbered(files[0].numbered).hunks] == [90, 90]


def test_a_large_file_is_not_cut_if_the_remaining_files_fit() -> None:
    assert [f.cut for f in select_files([long("a.py", 200), long("b.py", 10)], tokens=2_500)[0]] == [False, False]


def test_a_patch_is_limited_to_the_length_of_one_text() -> None:
    (patched,), _ = select_files([long("a.py", 2_500)], tokens=900_000)
    assert patched.cut
    assert 59_000 < len(patched.numbered) <= LONGEST_TEXT


def test_files_over_the_budget_are_skipped() -> None:
    files = [long("a.py", 60), long("b.py", 60), long("c.py", 19)]
    assert skipped(*files, tokens=1_100) == {"b.py": "over the token budget"}
    assert shown(*files, tokens=1_100) == ["a.py", "c.py"]
    assert shown(*files, tokens=50) == []


def test_long_paths_count_towards_the_budget() -> None:
    files = [file(f"{index}{'x' * 3_500}.py") for index in range(10)]
    assert len(select_files(files, tokens=3_300)[0]) == 3


def test_skipped_files_keep_githubs_order() -> None:
    files = [file("z.lock/uv.lock"), file("a.png", None, additions=0, deletions=0), file("b.min.js")]
    assert [omitted.path for omitted in select_files(files, tokens=BUDGET)[1]] == [
        "z.lock/uv.lock",
        "a.png",
        "b.min.js",
    ]


def test_reasons_are_counted() -> None:
    ignored_paths = [SkippedFile("a", "lock file"), SkippedFile("b", "binary or empty"), SkippedFile("c", "lock file")]
    assert count_reasons(ignored_paths) == "2 lock files, 1 binary or empty"


@given(st.lists(st.tuples(st.sampled_from(["a.py", "a.md", "t/test_a.py"]), st.integers(0, 60))), st.integers(0, 4_000))
def test_the_budget_is_not_exceeded_and_every_file_is_shown_or_skipped(
    made: list[tuple[str, int]], tokens: int
) -> None:
    files = [long(f"{index}/{path}", lines) for index, (path, lines) in enumerate(made)]
    patched, ignored_paths = select_files(files, tokens=tokens)
    cut_remark = 30
    assert sum(estimate_tokens(f.numbered) - cut_remark * f.cut for f in patched) <= tokens
    assert sorted([f.path for f in patched] + [f.path for f in ignored_paths]) == sorted(f.path for f in files)


HANDLER = PullRequestHandler()
LOGO = file("logo.png", None, additions=0, deletions=0)


def gather(
    *files: ChangedFile, tokens: int = 10_000, states: Mapping[tuple[int, str], str] | None = None, **known: Any
) -> PullRequestFacts:
    now = pull_request(**{"changed_files": len(files), **known})
    history = FakeHistory(states=states)
    return HANDLER.gather(event(pull_request()), FakeReader(now, files), history, PromptLimits(tokens))


def plan(facts: PullRequestFacts, given: Analysis) -> tuple[Action, ...]:
    return HANDLER.plan(event(pull_request()), facts, given)


def test_the_current_pull_request_and_its_patches_are_read() -> None:
    facts = gather(file(), LOGO, title="Cube it", head_sha="f" * 40)
    variables = HANDLER.variables(facts)
    assert variables["pull_request"] == pull_request(title="Cube it", head_sha="f" * 40, changed_files=2)
    assert [f.path for f in facts.files] == ["area.py"]
    assert variables["files"] == facts.files
    assert variables["skipped"] == (SkippedFile("logo.png", "binary or empty"),)
    assert variables["size"] == "small"
    assert variables["unlisted"] == 0
    assert HANDLER.skip_reason(facts) is None


def test_patches_are_limited_by_the_budget() -> None:
    facts = gather(file(), tokens=100)
    assert (facts.files, facts.skipped) == ((), (SkippedFile("area.py", "over the token budget"),))


DOCS = PathFilter(("docs/**",), "config/settings.yaml:14 (repositories[0].paths.ignore)")


def leaving_out_docs(*files: ChangedFile) -> PullRequestFacts:
    now = pull_request(changed_files=len(files))
    return HANDLER.gather(
        event(pull_request()), FakeReader(now, files), EMPTY_HISTORY, PromptLimits(10_000, ignored_paths=DOCS)
    )


def test_files_left_out_by_settings_are_not_shown_but_count_in_the_size() -> None:
    facts = leaving_out_docs(file("docs/guide.md", additions=60), file())
    assert [f.path for f in facts.files] == ["area.py"]
    assert facts.skipped == (SkippedFile("docs/guide.md", "left out by settings"),)
    assert facts.size == "medium"


def test_claude_is_not_asked_if_settings_leave_out_all_files() -> None:
    assert HANDLER.skip_reason(leaving_out_docs(file("docs/guide.md"), file("docs/uv.lock"))) == SkipReason(
        "none of the changed files has a patch to read (2 left out by settings; see "
        "config/settings.yaml:14 (repositories[0].paths.ignore)), so Claude was not asked"
    )


def test_omissions_are_described() -> None:
    long = "@@ -0,0 +1,900 @@\n" + "\n".join(f"+line {number}" for number in range(900))
    facts = gather(file("a.py", long, additions=900, deletions=0), file("uv.lock"), LOGO, tokens=2_000, changed_files=4)
    assert HANDLER.describe_omissions(facts) == (
        "3 of 4 files were not shown: 1 lock file, 1 binary or empty, 1 beyond those that GitHub lists; 1 file was "
        "partly reviewed, because the patch is too long"
    )
    assert HANDLER.describe_omissions(gather(file(), LOGO)) == "1 of 2 files was not shown: 1 binary or empty"
    assert HANDLER.describe_omissions(gather(LOGO)) == "1 of 1 file was not shown: 1 binary or empty"
    assert HANDLER.describe_omissions(gather(file())) is None


def test_patch_that_github_shortened_is_partly_reviewed() -> None:
    facts = gather(file(additions=400, deletions=1))
    assert [patched.cut for patched in facts.files] == [True]
    assert facts.files[0].numbered.endswith("\n[cut here: 399 more changed lines of this file are not shown]")
    assert HANDLER.describe_omissions(facts) == "1 file was partly reviewed, because the patch is too long"


def test_files_that_github_does_not_list_are_counted() -> None:
    assert gather(file(), changed_files=3_141).unlisted == 3_140
    assert gather(file(), changed_files=0).unlisted == 0


@pytest.mark.parametrize(
    ("additions", "deletions", "size"),
    [
        (0, 0, "small"),
        (25, 24, "small"),
        (25, 25, "medium"),
        (199, 0, "medium"),
        (0, 200, "large"),
        (9_000, 0, "large"),
    ],
)
def test_size_depends_on_changed_lines_of_all_files(additions: int, deletions: int, size: str) -> None:
    facts = gather(file("uv.lock", additions=additions, deletions=0), file(additions=0, deletions=deletions))
    assert facts.size == size


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ((), "the pull request changes no files, so Claude was not asked"),
        (
            (LOGO, file("uv.lock")),
            "none of the changed files has a patch to read (1 binary or empty, 1 lock file), so Claude was not asked",
        ),
    ],
    ids=["no files", "nothing to read"],
)
def test_claude_is_not_asked_without_a_patch(files: tuple[ChangedFile, ...], sentence: str) -> None:
    assert HANDLER.skip_reason(gather(*files)) == SkipReason(sentence)


def test_an_analysis_with_findings_becomes_labels_and_a_comment() -> None:
    reply = pull_request_analysis(findings=[finding()])
    facts = gather(file(additions=60))
    assert plan(facts, analysis(reply, comment="Squares.")) == (
        EnsureLabels(
            (RequestedLabel("size/medium", "size"), RequestedLabel("type/bug-fix", "type")),
            ("size", "type"),
            prompt_ids={"type": "p@1"},
        ),
        EnsureComment("pull_requests", "Squares.", create=True, state=state_of(facts, reply)),
    )


def state_of(facts: PullRequestFacts, reply: PullRequestAnalysis) -> str | None:
    return dump_earlier(remember(reply.findings, {one.path: parse_numbered(one.numbered) for one in facts.files}))


@pytest.mark.parametrize(
    ("summary", "findings", "worth_saying", "create"),
    [
        ("on_findings", [finding()], True, True),
        ("on_findings", [], True, False),
        ("on_findings", [finding(quote="nowhere")], True, False),
        ("on_findings", [finding()], False, False),
        ("always", [], False, True),
    ],
    ids=["found", "nothing found", "nothing located", "not worth saying", "always"],
)
def test_comment_is_created_if_something_was_found_or_always(
    summary: Summary, findings: list[Finding], worth_saying: bool, create: bool
) -> None:
    facts = replace(gather(file()), summary=summary)
    actions = plan(facts, analysis(pull_request_analysis(findings=findings, worth_saying=worth_saying)))
    assert [type(action) for action in actions] == [EnsureLabels, EnsureComment]
    assert isinstance(actions[1], EnsureComment)
    assert actions[1].create is create


def test_earlier_findings_are_counted_by_their_state_and_stored_again() -> None:
    old = pull_request_analysis(findings=[finding(), finding(title="Slow", category="performance")])
    state = state_of(gather(file()), old)
    pushed = file(patch=PATCH.replace("** 2", "** 3"), additions=1, deletions=1)
    facts = gather(pushed, states={(8, "pull_requests"): state or ""})
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=[]))
    assert [variables[name] for name in ("fixed", "still_open", "gone", "unrepeated")] == [2, 0, 0, ()]
    comment = plan(facts, analysis(pull_request_analysis(findings=[])))[1]
    assert isinstance(comment, EnsureComment)
    assert (comment.create, [one.state for one in parse_earlier(comment.state)]) == (False, ["fixed", "fixed"])


def test_earlier_finding_that_the_reply_does_not_repeat_is_shown_while_its_line_is_in_the_patch() -> None:
    state = state_of(gather(file()), pull_request_analysis(findings=[finding()]))
    pushed = file(patch=f"{PATCH}\n+    # checked", additions=2, deletions=1)
    for present in (file(), pushed):
        facts = gather(present, states={(8, "pull_requests"): state or ""})
        variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=[]))
        (shown,) = cast(tuple[ShownFinding, ...], variables["unrepeated"])
        assert (shown.title, shown.line, shown.severity, variables["still_open"]) == ("Wrong", 2, "high", 1)
        assert variables["fixed"] == 0


@pytest.mark.parametrize(
    ("known", "url"),
    [
        ({}, f"{'0123456789abcdef' * 2}01234567/area.py#L2"),
        ({"start_line": 1}, f"{'0123456789abcdef' * 2}01234567/area.py#L1-L2"),
        ({"side": "LEFT", "quote": "    return side * 2"}, f"{'b' * 40}/old%20%28name%29.py#L2"),
    ],
    ids=["line", "lines", "removed line of a renamed file"],
)
def test_finding_links_to_its_lines_in_the_commit(known: dict[str, Any], url: str) -> None:
    facts = gather(file(previous_path="old (name).py", status="renamed"), base_sha="b" * 40)
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=[finding(**known)]))
    (shown,) = cast(tuple[ShownFinding, ...], variables["findings"])
    assert shown.url == f"https://github.com/o/r/blob/{url}"


def test_link_to_markdown_shows_its_source() -> None:
    facts = gather(file("README.md"))
    (shown,) = cast(
        tuple[ShownFinding, ...],
        HANDLER.comment_variables(facts, pull_request_analysis(findings=[finding(path="README.md")]))["findings"],
    )
    assert shown.url.endswith("/README.md?plain=1#L2")


@pytest.mark.parametrize(
    ("reason", "needs_review"), [("lock file", False), ("over the token budget", True), ("generated", False)]
)
def test_skipped_file_needs_review_unless_nobody_writes_it(reason: Reason, needs_review: bool) -> None:
    assert SkippedFile("a", reason).needs_review is needs_review


@pytest.mark.parametrize("kind", ["bug-fix", "feature", "refactor", "docs"])
@pytest.mark.parametrize("additions", [1, 100, 1_000])
def test_every_label_is_in_the_catalogue(kind: str, additions: int) -> None:
    labels = plan(gather(file(additions=additions)), analysis(pull_request_analysis(type=kind)))[0]
    assert isinstance(labels, EnsureLabels)
    assert {(label.name, label.group) for label in labels.requested} <= {
        (spec.name, spec.group) for spec in SHIPPED_LABELS
    }


def test_an_existing_comment_is_edited_if_the_analysis_is_not_worth_saying() -> None:
    actions = plan(gather(file()), analysis(pull_request_analysis(worth_saying=False)))
    assert actions[1] == EnsureComment("pull_requests", "Hello.", create=False)


@pytest.mark.parametrize("comment", [None, ""], ids=["no template", "an empty template"])
def test_no_comment_without_a_text(comment: str | None) -> None:
    actions = plan(gather(file()), analysis(pull_request_analysis(), comment=comment))
    assert [type(action) for action in actions] == [EnsureLabels]


def test_a_reply_of_another_type_does_not_change_the_type_label() -> None:
    assert plan(gather(file()), analysis(issue_response(), comment=None)) == (
        EnsureLabels((RequestedLabel("size/small", "size"),), ("size",)),
    )


def test_comment_variables_have_the_commit_and_the_anchored_findings() -> None:
    facts = gather(file(), head_sha="0123456789abcdef0123456789abcdef01234567")
    lost, moved = finding(quote="never written"), finding(line=7, title="Moved")
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=[lost, moved]))
    assert variables["commit"] == "0123456789"
    assert titles_of(variables) == [("Moved", 2)]
    assert variables["dropped"] == 1


def titles_of(variables: Mapping[str, object]) -> list[tuple[str, int | None]]:
    return [(shown.title, shown.line) for shown in cast(tuple[ShownFinding, ...], variables["findings"])]


def test_the_comment_names_the_commit_that_was_read_not_that_of_the_event() -> None:
    facts = gather(file(), head_sha="f" * 40)
    variables = HANDLER.comment_variables(facts, pull_request_analysis())
    assert variables["commit"] == "ffffffffff"


def test_findings_about_files_that_were_not_shown_are_dropped() -> None:
    variables = HANDLER.comment_variables(
        gather(file(), file("uv.lock")),
        pull_request_analysis(findings=[finding(path="uv.lock")]),
    )
    assert (variables["findings"], variables["dropped"]) == ((), 1)


def test_a_reply_of_another_type_has_no_findings() -> None:
    variables = HANDLER.comment_variables(gather(file()), issue_response())
    assert (variables["findings"], variables["dropped"]) == ((), 0)


@pytest.mark.parametrize(
    ("shown", "titles"),
    [
        ({}, ["Severe", "Doubtful", "Small"]),
        ({"min_severity": "medium"}, ["Severe", "Doubtful"]),
        ({"min_confidence": 0.5}, ["Severe", "Small"]),
        ({"min_severity": "high", "min_confidence": 0.9}, ["Severe"]),
        ({"min_severity": "critical"}, []),
    ],
)
def test_findings_below_the_thresholds_are_counted_and_not_shown(shown: dict[str, Any], titles: list[str]) -> None:
    found = [
        finding(title="Severe", severity="high", confidence=0.9),
        finding(title="Doubtful", severity="medium", confidence=0.4, category="security"),
        finding(title="Small", severity="low", confidence=0.9, category="style"),
    ]
    budget = PromptLimits(10_000, shown=Findings.model_validate(shown))
    facts = HANDLER.gather(event(pull_request()), FakeReader(pull_request(), (file(),)), EMPTY_HISTORY, budget)
    variables = HANDLER.comment_variables(facts, pull_request_analysis(findings=found))
    assert [f.title for f in variables["findings"]] == titles  # type: ignore[attr-defined]
    assert (variables["held_back"], variables["dropped"]) == (3 - len(titles), 0)
