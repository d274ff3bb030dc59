"""Changed files of which GitHub shows no line: what is compared with the base branch, and what
needs a review.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.analysis import NO_CALLS
from hls_handler.errors import DependencyDown, Permanent, StepFailed
from hls_handler.github.values import Blob, ChangedFile
from hls_handler.handlers import pull_requests
from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.pull_requests import plan_review_check
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.review.facts import PullRequestFacts
from hls_handler.review.skipped_files import decide_unshown
from hls_handler.settings.path_globs import PathFilter
from hls_handler.settings.sections import ReviewSettings
from tests.engine.stand_in import StandIn
from tests.handlers.world import count_changes, event, file, open_github, pull_request

HEAD = pull_request().head_sha
OLD, NEW = (
    "a" * 40,
    "3e5126c4e761fd09582fc517918a1601b218dff0",
)  # the ids of other content and of "new"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'c' * 64}\nsize 10485760\n"
BINARY, TEXT, LFS = Blob(NEW, is_binary=True), Blob(NEW), Blob(NEW, text=POINTER)
READS = ["GET /pulls/8", "GET /pulls/8/files"]
LIMITS = PromptLimits(10_000, is_review=True, review=ReviewSettings(incomplete="failure"))


def unshown(path: str, **known: Any) -> ChangedFile:
    """A file without a patch and without changed lines, as GitHub lists a change of its mode or of
    binary content.
    """
    return replace(file(path, None, additions=0, deletions=0), **{"sha": NEW, **known})


def github_with(
    *files: ChangedFile,
    base: Mapping[str, str] | None = None,
    head: Mapping[str, str] | None = None,
) -> StandIn:
    """A pull request with these changed files, and texts of files by path."""
    github = open_github(pull_request(**count_changes(files)), files, base_files=base)
    github.put_files(HEAD, head or {})
    return github


def gather(github: StandIn, limits: PromptLimits = LIMITS) -> PullRequestFacts:
    reader = github.reader("octo/hello")
    return pull_requests.gather(FactSource(event(pull_request()), reader, EMPTY_HISTORY, limits))


def reviewed(facts: PullRequestFacts) -> list[tuple[str, str]]:
    """The skipped files with their reasons; the conclusion of the check must fit them."""
    (check,) = plan_review_check(facts, NO_CALLS)
    needs_review = any(one.needs_review for one in facts.selection.skipped)
    assert check.conclusion == ("failure" if needs_review else "success")
    return [(one.path, one.reason) for one in facts.selection.skipped]


def test_mode_change_and_binary_do_not_block_and_are_named() -> None:
    base, head = {"run.sh": "new", "data/model.bin": "old"}, {"data/model.bin": "\0"}
    github = github_with(unshown("run.sh"), unshown("data/model.bin"), base=base, head=head)
    facts = gather(github)
    assert reviewed(facts) == [
        ("run.sh", "mode changed only"),
        ("data/model.bin", "binary or empty"),
    ]
    (check,) = plan_review_check(facts, NO_CALLS)
    assert check.title == "Nothing needs a review: 1 mode changed only, 1 binary or empty"
    assert "- `run.sh`: mode changed only\n- `data/model.bin`: binary or empty" in check.summary
    assert github.calls == [*READS, "POST /graphql"]


@pytest.mark.parametrize(
    ("path", "status", "on_base", "content", "reason"),
    [
        ("bin/tool", "added", None, BINARY, "binary or empty"),
        ("bin/tool", "modified", Blob(OLD), BINARY, "binary or empty"),
        ("bin/tool", "modified", Blob(OLD), TEXT, "not shown by GitHub"),
        ("bin/tool", "modified", Blob(OLD), None, "not shown by GitHub"),
        ("bin/tool", "changed", Blob(NEW), TEXT, "mode changed only"),
        ("area.py", "modified", Blob(NEW), None, "mode changed only"),
        ("db/dump.sql", "modified", Blob(OLD), BINARY, "not shown by GitHub"),
        ("Setup.PS1", "added", None, BINARY, "not shown by GitHub"),
        ("Dockerfile.prod", "modified", Blob(OLD), BINARY, "not shown by GitHub"),
        (".github/logo", "added", None, BINARY, "not shown by GitHub"),
        (".env.local", "added", None, BINARY, "not shown by GitHub"),
        (".DS_Store", "added", None, BINARY, "binary or empty"),
        ("clips/intro.clip", "modified", Blob(OLD), LFS, "stored in Git LFS"),
        (
            "clips/intro.clip",
            "modified",
            Blob(OLD),
            Blob(NEW, text=f"{POINTER}rm -rf /\n"),
            "not shown by GitHub",
        ),
        ("bin/tool", "renamed", Blob(NEW), TEXT, "renamed without changes"),
        ("db/dump.sql", "renamed", Blob(OLD), None, "not shown by GitHub"),
        ("db/dump.sql", "renamed", None, None, None),
    ],
)
def test_equal_content_is_a_change_of_mode_and_else_the_content_decides(
    path: str, status: str, on_base: Blob | None, content: Blob | None, reason: str | None
) -> None:
    assert decide_unshown(unshown(path, status=status), on_base, content) == reason


def test_a_renamed_file_is_compared_with_its_earlier_name() -> None:
    moved = unshown("new.sql", status="renamed", previous_path="old.sql")
    also = unshown("b.sql", status="renamed", previous_path="a.sql")
    facts = gather(github_with(moved, also, base={"old.sql": "old", "a.sql": "new"}))
    assert reviewed(facts) == [
        ("new.sql", "not shown by GitHub"),
        ("b.sql", "renamed without changes"),
    ]
    assert facts.unread == {"new.sql", "old.sql"}  # no finding in it is gone


def test_a_removed_file_is_read_from_the_base_branch() -> None:
    github = github_with(unshown("bin/tool", status="removed"), base={"bin/tool": "\0"})
    assert reviewed(gather(github)) == [("bin/tool", "binary or empty")]


@pytest.mark.parametrize(
    "known",
    [
        unshown("logo.png"),
        unshown("empty", status="added", sha="e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        unshown("big.py", additions=20_000),
        unshown("pixi.lock"),
        unshown("docs/a.bin"),
        unshown("a.bin", sha=None),
        file("area.py"),
    ],
    ids=lambda one: one.path,
)
def test_nothing_is_read_for_files_that_are_shown_or_whose_name_decides(known: ChangedFile) -> None:
    github = github_with(known)
    gather(github, replace(LIMITS, ignored_paths=PathFilter(("docs/**",))))
    reads_context = known.path in ("area.py", "pixi.lock")
    assert github.calls == [*READS, *["POST /graphql"] * reads_context]


def test_what_a_name_marks_as_vendored_needs_no_review_if_nobody_could_read_it() -> None:
    files = (
        unshown("vendor/run.sh"),
        unshown("vendor/logo.png"),
        unshown("vendor/lib"),
        unshown("vendor/a.go"),
    )
    github = github_with(*files, base={"vendor/run.sh": "new"}, head={"vendor/lib": "\0"})
    assert reviewed(gather(github)) == [
        ("vendor/run.sh", "mode changed only"),
        ("vendor/logo.png", "binary or empty"),
        ("vendor/lib", "binary or empty"),
        ("vendor/a.go", "perhaps generated or vendored"),
    ]


def test_many_files_are_one_request_and_the_rest_stays_unread() -> None:
    files = [unshown(f"{number}.dat") for number in range(251)]
    renamed = unshown("new.dat", status="renamed", previous_path="old.dat")
    github = github_with(renamed, *files, head={changed.path: "\0" for changed in files})
    found = [reason for _, reason in reviewed(gather(github))]
    assert github.calls.count("POST /graphql") == 2  # the other one reads the context
    assert [found.count(reason) for reason in ("binary or empty", "not shown by GitHub")] == [
        250,
        1,
    ]
    assert found[0] == "renamed without changes"  # it is not compared


def down(*, applies_to_all_calls: bool) -> DependencyDown:
    return DependencyDown(
        "502", dependency="github", remedy="wait", applies_to_all_calls=applies_to_all_calls
    )


@pytest.mark.parametrize("error", [Permanent("403"), down(applies_to_all_calls=False)])
def test_a_failed_comparison_leaves_the_file_unread(error: StepFailed) -> None:
    github = github_with(unshown("run.sh"))
    github.raise_once(error, "POST /graphql")
    assert reviewed(gather(github)) == [("run.sh", "not shown by GitHub")]


def test_other_prompts_than_reviews_read_no_content() -> None:
    github = github_with(unshown("run.sh"))
    gather(github, PromptLimits(10_000))
    assert github.calls == READS
