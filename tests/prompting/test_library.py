"""Loaded libraries: values of prompts, their events, and `then` links."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from hls_handler.errors import PromptError
from hls_handler.prompting.library import ReloadingLibrary, load_library
from hls_handler.prompting.prompt import Library
from tests.prompting.samples import BASE, FAMILIES, FRONT, PLAIN, load, write


def test_prompts_of_an_event_exclude_followers(tmp_path: Path) -> None:
    first = FRONT.replace("---\n", "---\nthen: {prompt: issues/b, when: 'true'}\n", 1)
    edited = FRONT.replace("opened", "edited")
    library = load(
        tmp_path,
        {"issues/a.j2": first + "x", "issues/b.j2": FRONT + "x", "issues/c.j2": edited + "x"},
    )
    assert library.on("issues.opened") == ("issues/a",)
    assert library.on("issues.edited") == ("issues/c",)
    assert library.on("release.published") == ()


def test_prompt_id_changes_with_each_of_its_files_and_no_other(tmp_path: Path) -> None:
    text = "Judge {{ issue.title }}\n{% include '_part.j2' %}"
    files = {
        "base.j2": BASE,
        "issues/plain.j2": FRONT + text,
        "issues/plain.comment.md.j2": "a comment",
        "_part.j2": "a part",
    }
    changes: list[dict[str, str]] = [
        {"issues/other.j2": FRONT.replace("opened", "edited") + "x", "_unused.j2": "x"},
        {"issues/plain.j2": FRONT.replace("A test", "Another") + text},
        *({name: f"{content}{{# ! #}}"} for name, content in files.items()),
    ]
    found = [
        load(tmp_path / str(n), files | change).prompts["issues/plain"].id
        for n, change in enumerate(changes)
    ]
    assert found[0] == load(tmp_path / "unchanged", files).prompts["issues/plain"].id
    assert len(set(found)) == len(changes)


def test_prompt_is_rendered_again_only_after_a_change_of_what_it_shows(tmp_path: Path) -> None:
    rendered: list[str] = []
    text = "{{ issue.title }} {{ config.team }}{% include '_part.j2' %}"
    files = {"base.j2": BASE, "issues/plain.j2": FRONT + text, "_part.j2": "a part"}

    def samples(event: str) -> Iterator[tuple[str, Mapping[str, object]]]:
        rendered.append(event)
        yield from FAMILIES[event].samples()

    families = {
        event: replace(family, samples=partial(samples, event))
        for event, family in FAMILIES.items()
    }

    def renders(changed: Mapping[str, str], team: str = "core") -> bool:
        rendered.clear()
        load_library(
            write(tmp_path, {**files, **changed}), families=families, config={"team": team}
        )
        return rendered == ["issues"]

    front = FRONT.replace("opened", "edited, issues.opened")
    assert [renders({}), renders({}), renders({}, team="docs")] == [True, False, True]
    assert [
        renders({"_part.j2": "x"}),
        renders({"issues/plain.j2": front + text}),
        renders({}),
    ] == [True, True, False]


def test_hidden_files_and_other_extensions_are_ignored(tmp_path: Path) -> None:
    files = {
        ".git/issues/x.j2": "{{ broken",
        "issues/.x.j2.swp": "x",
        "issues/notes.md": "x",
        "issues/.y.j2": "{%",
    }
    assert list(load(tmp_path, PLAIN | files).prompts) == ["issues/plain"]


def test_inherited_prompt_without_predecessor_is_unused_and_no_error(tmp_path: Path) -> None:
    """If the author's version of a prompt has no `then`, the shipped library need not be
    changed.
    """
    first = FRONT.replace("---\n", "---\nthen: {prompt: issues/b, when: 'true'}\n", 1)
    follower = FRONT.replace("on: [issues.opened]\n", "")
    write(
        tmp_path / "theirs",
        {"base.j2": BASE, "issues/a.j2": first + "x", "issues/b.j2": follower + "x"},
    )
    write(tmp_path / "own", {"issues/a.j2": FRONT + "mine"})
    library = load_library(tmp_path / "own", tmp_path / "theirs", families=FAMILIES)
    assert library.on("issues.opened") == ("issues/a",)
    assert library.prompts["issues/a"].then is None
    with pytest.raises(PromptError, match=r"b\.j2:1: the prompt has no event"):
        load(tmp_path / "alone", {"issues/a.j2": FRONT + "mine", "issues/b.j2": follower + "x"})


LATER: Iterator[int] = count(2_000_000_000)
TIMEOUT_S = 30.0  # only a defect makes a test wait this long


def change(folder: Path, text: str, name: str = "issues/plain.j2") -> None:
    """Write a file with a new modification time."""
    write(folder, {name: text})
    os.utime(folder / name, (next(LATER),) * 2)


class CountingLoader:
    """Callable that loads the folder and counts the calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0

    def __call__(self) -> Library:
        self.times += 1
        return load_library(self.folder, families=FAMILIES)


@pytest.fixture
def loader(tmp_path: Path) -> CountingLoader:
    return CountingLoader(write(tmp_path, PLAIN))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("issues/plain.j2", f"{FRONT}Other words"),
        ("issues/more.j2", FRONT.replace("opened", "edited") + "x"),
    ],
)
def test_changed_or_new_file_is_used_from_the_next_delivery(
    loader: CountingLoader, name: str, text: str
) -> None:
    live = ReloadingLibrary(loader, loader.folder)
    before = live.latest
    live.reload()
    assert live.latest is before
    assert loader.times == 1
    change(loader.folder, text, name)
    assert live.latest is before
    live.reload()
    assert live.latest is not before
    assert (loader.times, live.reload_error) == (2, None)


def test_invalid_change_keeps_the_last_valid_version_until_it_is_corrected(
    loader: CountingLoader, caplog: pytest.LogCaptureFixture
) -> None:
    live = ReloadingLibrary(loader, loader.folder)
    good = live.latest
    change(loader.folder, FRONT + "{{ isue.title }}")
    caplog.set_level(logging.INFO)
    live.reload()
    live.reload()
    assert live.latest is good
    problem = (
        f"{loader.folder.as_posix()}/issues/plain.j2:6: unknown variable 'isue' (braces that are"
        " text stand between {% raw %} and {% endraw %}); did you mean 'issue'?"
    )
    assert (
        live.reload_error
        == f"the changed prompts cannot be used, the last valid version stays in use: {problem}"
    )
    assert loader.times == 2
    change(loader.folder, FRONT + "Fixed")
    live.reload()
    assert live.latest is not good
    assert live.reload_error is None
    assert [record.message for record in caplog.records] == [
        "prompts cannot be used, the last valid version stays in use",
        "prompts reloaded",
    ]
    assert caplog.records[-1].__dict__["prompts"] == [live.latest.prompts["issues/plain"].id]


def test_unexpected_exception_during_reload_is_raised_once_and_remains_as_error(
    loader: CountingLoader,
) -> None:
    """The first caller gets the exception; later callers get the last valid version."""

    def load_with_defect() -> Library:
        if loader.times == 1:
            loader.times += 1
            raise KeyError("a defect of ours")
        return loader()

    live = ReloadingLibrary(load_with_defect, loader.folder)
    good = live.latest
    change(loader.folder, FRONT + "Changed")
    with pytest.raises(KeyError):
        live.reload()
    live.reload()
    assert live.latest is good
    assert (
        live.reload_error
        == "the changed prompts cannot be read; the last valid version stays in use; see the log"
    )
    change(loader.folder, FRONT + "Fixed")
    live.reload()
    assert live.latest is not good
    assert live.reload_error is None


def test_reload_that_does_not_end_keeps_the_last_valid_version_and_says_so(
    loader: CountingLoader,
) -> None:
    is_loading, may_end = threading.Event(), threading.Event()

    def load() -> Library:
        if loader.times:
            is_loading.set()
            assert may_end.wait(TIMEOUT_S)
        return loader()

    live = ReloadingLibrary(load, loader.folder)
    good = live.latest
    change(loader.folder, FRONT + "Other words")
    reloading = threading.Thread(target=live.reload)
    reloading.start()
    assert is_loading.wait(TIMEOUT_S)
    assert live.latest is good
    assert live.reload_error is not None
    assert "a template may have a loop that does not end" in live.reload_error
    may_end.set()
    reloading.join()
    assert live.latest is not good
    assert live.reload_error is None


def test_invalid_library_at_startup_raises_or_keeps_the_previous_library(
    loader: CountingLoader,
) -> None:
    before = loader()
    change(loader.folder, FRONT + "{% if %}")
    with pytest.raises(PromptError):
        ReloadingLibrary(loader, loader.folder)
    live = ReloadingLibrary(loader, loader.folder, before=before)
    live.reload()
    assert live.latest is before
    assert live.reload_error is not None
    change(loader.folder, FRONT + "Fixed")
    live.reload()
    assert live.latest is not before
    assert live.reload_error is None
