"""Changed files of which GitHub shows no line: what is compared with the base branch, and what
needs a review.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hls_handler.analysis import NO_CALLS
from hls_handler.errors import DependencyDown, Permanent, StepFailed
from hls_handler.github.values import Blob, ChangedFile
from hls_handler.handlers import pull_request_input
from hls_handler.handlers.job import PromptLimits, Source
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.pull_requests import plan_review_check
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.handlers.skipped_files import decide_unshown
from hls_handler.path_globs import PathFilter
from hls_handler.settings.sections import Review
from tests.engine.fakes import FakeReader
from tests.handlers.world import count_changes, event, fake_reader, file, pull_request

HEAD = pull_request().head_sha
OLD, NEW = "a" * 40, "b" * 40
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'c' * 64}\nsize 10485760\n"
BINARY, TEXT, LFS = Blob(NEW, is_binary=True), Blob(NEW), Blob(NEW, text=POINTER)
LIMITS = PromptLimits(10_000, is_review=True, review=Review(incomplete="failure"))


def unshown(path: str, **known: Any) -> ChangedFile:
    """A file without a patch and without changed lines, as GitHub lists a change of its mode or of
    binary content.
    """
    return replace(file(path, None, additions=0, deletions=0), **{"sha": NEW, **known})


def reader(*files: ChangedFile, blobs: dict[str, Blob] | None = None) -> FakeReader:
    return fake_reader(pull_request(**count_changes(files)), files, blobs=blobs or {})


def gather(source: FakeReader, limits: PromptLimits = LIMITS) -> PullRequestFacts:
    (now,) = source.github.pull_requests.values()
    return pull_request_input.gather(Source(event(now), source, EMPTY_HISTORY, limits))


def reviewed(facts: PullRequestFacts) -> list[tuple[str, str]]:
    """The skipped files with their reasons; the conclusion of the check must fit them."""
    (check,) = plan_review_check(facts, NO_CALLS)
    needs_review = any(one.needs_review for one in facts.selection.skipped)
    assert check.conclusion == ("failure" if needs_review else "success")
    return [(one.path, one.reason) for one in facts.selection.skipped]


def test_mode_change_and_binary_do_not_block_and_are_named() -> None:
    blobs = {
        "refs/heads/main:run.sh": Blob(NEW),
        "refs/heads/main:data/model.bin": Blob(OLD),
        f"{HEAD}:data/model.bin": BINARY,
    }
    source = reader(unshown("run.sh"), unshown("data/model.bin"), blobs=blobs)
    facts = gather(source)
    assert reviewed(facts) == [
        ("run.sh", "mode changed only"),
        ("data/model.bin", "binary or empty"),
    ]
    (check,) = plan_review_check(facts, NO_CALLS)
    assert check.title == "Nothing needs a review: 1 mode changed only, 1 binary or empty"
    assert "- `run.sh`: mode changed only\n- `data/model.bin`: binary or empty" in check.summary
    assert source.github.calls == ["pull_request 8", "files 8", "blobs 2 1"]


@pytest.mark.parametrize(
    ("path", "status", "on_base", "content", "reason"),
    [
        ("bin/tool", "added", None, BINARY, "binary or empty"),
        ("bin/tool", "removed", None, BINARY, "binary or empty"),
        ("bin/tool", "modified", Blob(OLD), BINARY, "binary or empty"),
        ("bin/tool", "modified", Blob(OLD), TEXT, "not shown by GitHub"),
        ("bin/tool", "modified", Blob(OLD), None, "not shown by GitHub"),
        ("bin/tool", "modified", None, None, "not shown by GitHub"),
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
        ("db/dump.sql", "modified", Blob(OLD), LFS, "not shown by GitHub"),
        ("bin/tool", "copied", None, BINARY, "binary or empty"),
        ("bin/tool", "renamed", Blob(NEW), TEXT, "renamed without changes"),
        ("bin/tool", "renamed", Blob(OLD), BINARY, "binary or empty"),
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
    blobs = {"refs/heads/main:old.sql": Blob(OLD), "refs/heads/main:a.sql": Blob(NEW)}
    facts = gather(reader(moved, also, blobs=blobs))
    assert reviewed(facts) == [
        ("new.sql", "not shown by GitHub"),
        ("b.sql", "renamed without changes"),
    ]
    assert facts.unread == {"new.sql", "old.sql"}  # no finding in it is gone


def test_a_removed_file_is_read_from_the_base_branch() -> None:
    source = reader(
        unshown("bin/tool", status="removed"), blobs={"refs/heads/main:bin/tool": BINARY}
    )
    assert reviewed(gather(source)) == [("bin/tool", "binary or empty")]
    assert source.github.calls[-1] == "blobs 0 1"


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
    source = reader(known)
    gather(source, replace(LIMITS, ignored_paths=PathFilter(("docs/**",))))
    assert not any(call.startswith("blobs") for call in source.github.calls)


def test_what_a_name_marks_as_vendored_needs_no_review_if_nobody_could_read_it() -> None:
    blobs = {"refs/heads/main:vendor/run.sh": Blob(NEW), f"{HEAD}:vendor/lib": BINARY}
    files = (
        unshown("vendor/run.sh"),
        unshown("vendor/logo.png"),
        unshown("vendor/lib"),
        unshown("vendor/a.go"),
    )
    assert reviewed(gather(reader(*files, blobs=blobs))) == [
        ("vendor/run.sh", "mode changed only"),
        ("vendor/logo.png", "binary or empty"),
        ("vendor/lib", "binary or empty"),
        ("vendor/a.go", "perhaps generated or vendored"),
    ]


def test_many_files_are_one_request_and_the_rest_stays_unread() -> None:
    files = [unshown(f"{number}.dat") for number in range(251)]
    renamed = unshown("new.dat", status="renamed", previous_path="old.dat")
    blobs = {f"{HEAD}:{one.path}": BINARY for one in files}
    source = reader(renamed, *files, blobs=blobs)
    found = [reason for _, reason in reviewed(gather(source))]
    assert [call for call in source.github.calls if call.startswith("blobs")] == ["blobs 250 250"]
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
    source = reader(unshown("run.sh"))

    def fail(call: str) -> None:
        if call.startswith("blobs"):
            raise error

    source.github.on_call = fail
    assert reviewed(gather(source)) == [("run.sh", "not shown by GitHub")]


def test_other_prompts_than_reviews_read_no_content() -> None:
    source = reader(unshown("run.sh"))
    gather(source, PromptLimits(10_000))
    assert source.github.calls == ["pull_request 8", "files 8"]
