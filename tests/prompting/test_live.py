"""`ReloadingLibrary` reloads changed files and keeps the last valid version."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from hls_handler.errors import PromptError
from hls_handler.prompting.library import Library, load_library
from hls_handler.prompting.live import ReloadingLibrary
from tests.prompting.samples import FAMILIES, FRONT, PLAIN, write

LATER: Iterator[int] = count(2_000_000_000)


def change(folder: Path, text: str, name: str = "issues/plain.j2") -> None:
    """Write a file with a new modification time."""
    write(folder, {name: text})
    os.utime(folder / name, (next(LATER),) * 2)


class CountingLoader:
    """Callable that loader the folder and counts the calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0

    def __call__(self) -> Library:
        self.times += 1
        return load_library(self.folder, families=FAMILIES)


@pytest.fixture
def loader(tmp_path: Path) -> CountingLoader:
    return CountingLoader(write(tmp_path, PLAIN))


def test_unchanged_library_is_not_reloaded(loader: CountingLoader) -> None:
    live = ReloadingLibrary(loader, loader.folder)
    assert live.current() is live.current() is live.latest
    assert loader.times == 1


def test_changed_file_is_used_from_the_next_delivery(loader: CountingLoader) -> None:
    live = ReloadingLibrary(loader, loader.folder)
    before = live.current().prompts["issues/plain"].id
    change(loader.folder, FRONT + "Other words")
    assert live.latest.prompts["issues/plain"].id == before
    assert live.current().prompts["issues/plain"].id != before
    assert live.latest is live.current()
    assert live.report_problem is None


@pytest.mark.parametrize("name", ["_part.j2", "issues/plain.comment.md.j2", "issues/more.j2"])
def test_new_file_causes_a_reload(loader: CountingLoader, name: str) -> None:
    live = ReloadingLibrary(loader, loader.folder)
    change(loader.folder, FRONT.replace("opened", "edited") + "x" if name == "issues/more.j2" else "x", name)
    live.current()
    assert loader.times == 2


def test_removed_file_causes_a_reload(loader: CountingLoader) -> None:
    write(loader.folder, {"issues/plain.comment.md.j2": "x"})
    live = ReloadingLibrary(loader, loader.folder)
    (loader.folder / "issues" / "plain.comment.md.j2").unlink()
    assert live.current().prompts["issues/plain"].has_comment is False


def test_invalid_change_keeps_the_last_valid_version_and_is_logged_once(
    loader: CountingLoader, caplog: pytest.LogCaptureFixture
) -> None:
    live = ReloadingLibrary(loader, loader.folder)
    good = live.current()
    change(loader.folder, FRONT + "{{ isue.title }}")
    with caplog.at_level(logging.INFO):
        assert live.current() is good
        assert live.current() is good
    problem = f"{loader.folder.as_posix()}/issues/plain.j2:6: unknown variable 'isue'; did you mean 'issue'?"
    assert live.report_problem == f"the changed prompts cannot be used, the last valid version stays in use: {problem}"
    assert [record.message for record in caplog.records] == [
        "prompts cannot be used, the last valid version stays in use"
    ]
    assert loader.times == 2


def test_fixed_library_is_used(loader: CountingLoader, caplog: pytest.LogCaptureFixture) -> None:
    live = ReloadingLibrary(loader, loader.folder)
    change(loader.folder, FRONT + "{% if %}")
    live.current()
    change(loader.folder, FRONT + "Fixed")
    with caplog.at_level(logging.INFO):
        fixed = live.current()
    assert live.report_problem is None
    assert caplog.records[-1].message == "prompts reloaded"
    assert caplog.records[-1].__dict__["prompts"] == [fixed.prompts["issues/plain"].id]


def test_error_is_cleared_when_files_are_restored(loader: CountingLoader) -> None:
    live = ReloadingLibrary(loader, loader.folder)
    before = (loader.folder / "issues" / "plain.j2").stat()
    change(loader.folder, "broken")
    live.current()
    write(loader.folder, PLAIN)
    os.utime(loader.folder / "issues" / "plain.j2", ns=(before.st_atime_ns, before.st_mtime_ns))
    live.current()
    assert live.report_problem is None


def test_removed_folder_is_an_error_but_does_not_raise(loader: CountingLoader, tmp_path: Path) -> None:
    live = ReloadingLibrary(loader, loader.folder)
    good = live.current()
    loader.folder.rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    assert live.current() is good
    assert live.report_problem is not None
    assert "there is no such folder" in live.report_problem


def test_unexpected_exception_during_reload_is_raised_once_and_kept_as_error(loader: CountingLoader) -> None:
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
        live.current()
    assert live.current() is good
    assert live.report_problem == "the changed prompts cannot be read (KeyError), the last valid version stays in use"
    change(loader.folder, FRONT + "Fixed")
    assert live.current() is not good
    assert live.report_problem is None


def test_dangling_symlink_is_ignored(loader: CountingLoader) -> None:
    (loader.folder / "notes.md").symlink_to(loader.folder / "gone.md")
    assert list(ReloadingLibrary(loader, loader.folder).current().prompts) == ["issues/plain"]


def test_invalid_library_at_startup_raises(loader: CountingLoader) -> None:
    change(loader.folder, "broken")
    with pytest.raises(PromptError):
        ReloadingLibrary(loader, loader.folder)


def test_invalid_library_at_startup_keeps_the_previous_library(loader: CountingLoader) -> None:
    before = loader()
    change(loader.folder, FRONT + "{% if %}")
    live = ReloadingLibrary(loader, loader.folder, before=before)
    assert live.current() is before
    assert live.report_problem is not None
    change(loader.folder, FRONT + "Fixed")
    assert live.current() is not before
    assert live.report_problem is None


def test_other_threads_wait_for_a_reload_and_get_its_result(loader: CountingLoader) -> None:
    """A delivery uses the changed prompt also if another thread has noticed the change first."""
    reading, may_continue = threading.Event(), threading.Event()

    def slow() -> Library:
        if loader.times == 1:
            reading.set()
            assert may_continue.wait(10)
        return loader()

    live = ReloadingLibrary(slow, loader.folder)
    old = live.latest
    change(loader.folder, FRONT + "Other words")
    got: list[Library] = []
    threads = [threading.Thread(target=lambda: got.append(live.current())) for _ in range(2)]
    threads[0].start()
    assert reading.wait(10)
    threads[1].start()
    assert live.latest is old, "the webhook receiver does not wait"
    may_continue.set()
    for thread in threads:
        thread.join(10)
    assert got == [live.latest, live.latest]
    assert live.latest is not old
    assert loader.times == 2


def test_change_during_a_reload_causes_another_reload(loader: CountingLoader) -> None:
    def changing() -> Library:
        library = loader()
        if loader.times == 1:
            change(loader.folder, FRONT + "Changed meanwhile")
        return library

    live = ReloadingLibrary(changing, loader.folder)
    first = live.latest.prompts["issues/plain"].id
    assert live.current().prompts["issues/plain"].id != first
