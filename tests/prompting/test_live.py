"""The library in use follows its files, and never into a broken state."""

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
from hls_handler.prompting.live import LiveLibrary
from tests.prompting.samples import FAMILIES, FRONT, PLAIN, write

LATER: Iterator[int] = count(2_000_000_000)


def change(folder: Path, text: str, name: str = "issues/plain.j2") -> None:
    """Write a file, and see to it that its time differs from before."""
    write(folder, {name: text})
    os.utime(folder / name, (next(LATER),) * 2)


class Loads:
    """Loads the folder, and counts how often it was asked to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0

    def __call__(self) -> Library:
        self.times += 1
        return load_library(self.folder, families=FAMILIES)


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    return Loads(write(tmp_path, PLAIN))


def test_an_unchanged_library_is_not_read_again(loads: Loads) -> None:
    live = LiveLibrary(loads, loads.folder)
    assert live.current() is live.current() is live.latest
    assert loads.times == 1


def test_a_changed_file_is_in_use_at_the_next_delivery(loads: Loads) -> None:
    live = LiveLibrary(loads, loads.folder)
    before = live.current().prompts["issues/plain"].id
    change(loads.folder, FRONT + "Other words")
    assert live.latest.prompts["issues/plain"].id == before
    assert live.current().prompts["issues/plain"].id != before
    assert live.latest is live.current()
    assert live.trouble is None


@pytest.mark.parametrize("name", ["_part.j2", "issues/plain.comment.md.j2", "issues/more.j2"])
def test_a_new_file_is_noticed(loads: Loads, name: str) -> None:
    live = LiveLibrary(loads, loads.folder)
    change(loads.folder, FRONT.replace("opened", "edited") + "x" if name == "issues/more.j2" else "x", name)
    live.current()
    assert loads.times == 2


def test_a_removed_file_is_noticed(loads: Loads) -> None:
    write(loads.folder, {"issues/plain.comment.md.j2": "x"})
    live = LiveLibrary(loads, loads.folder)
    (loads.folder / "issues" / "plain.comment.md.j2").unlink()
    assert live.current().prompts["issues/plain"].has_comment is False


def test_a_broken_change_leaves_the_last_good_version_and_says_what_is_wrong_once(
    loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    live = LiveLibrary(loads, loads.folder)
    good = live.current()
    change(loads.folder, FRONT + "{{ isue.title }}")
    with caplog.at_level(logging.INFO):
        assert live.current() is good
        assert live.current() is good
    problem = f"{loads.folder.as_posix()}/issues/plain.j2:6: unknown variable 'isue'; did you mean 'issue'?"
    assert live.trouble == f"the changed prompts cannot be used, the last good ones stay: {problem}"
    assert [record.message for record in caplog.records] == ["prompts cannot be used, the last good ones stay"]
    assert loads.times == 2


def test_a_mended_library_is_in_use_again(loads: Loads, caplog: pytest.LogCaptureFixture) -> None:
    live = LiveLibrary(loads, loads.folder)
    change(loads.folder, FRONT + "{% if %}")
    live.current()
    change(loads.folder, FRONT + "Mended")
    with caplog.at_level(logging.INFO):
        mended = live.current()
    assert live.trouble is None
    assert caplog.records[-1].message == "prompts read again"
    assert caplog.records[-1].__dict__["prompts"] == [mended.prompts["issues/plain"].id]


def test_a_library_that_goes_back_to_what_it_was_is_no_trouble(loads: Loads) -> None:
    live = LiveLibrary(loads, loads.folder)
    before = (loads.folder / "issues" / "plain.j2").stat()
    change(loads.folder, "broken")
    live.current()
    write(loads.folder, PLAIN)
    os.utime(loads.folder / "issues" / "plain.j2", ns=(before.st_atime_ns, before.st_mtime_ns))
    live.current()
    assert live.trouble is None


def test_a_folder_that_vanishes_is_trouble_and_no_crash(loads: Loads, tmp_path: Path) -> None:
    live = LiveLibrary(loads, loads.folder)
    good = live.current()
    loads.folder.rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    assert live.current() is good
    assert live.trouble is not None
    assert "there is no such folder" in live.trouble


def test_a_defect_while_reading_is_trouble_until_the_files_change(loads: Loads) -> None:
    """Whoever came first is told; the others go on with the last good version."""

    def breaking() -> Library:
        if loads.times == 1:
            loads.times += 1
            raise KeyError("a defect of ours")
        return loads()

    live = LiveLibrary(breaking, loads.folder)
    good = live.latest
    change(loads.folder, FRONT + "What nobody thought of")
    with pytest.raises(KeyError):
        live.current()
    assert live.current() is good
    assert live.trouble == "the changed prompts cannot be read (KeyError), the last good ones stay"
    change(loads.folder, FRONT + "Mended")
    assert live.current() is not good
    assert live.trouble is None


def test_a_link_that_leads_nowhere_is_passed_over(loads: Loads) -> None:
    (loads.folder / "notes.md").symlink_to(loads.folder / "gone.md")
    assert list(LiveLibrary(loads, loads.folder).current().prompts) == ["issues/plain"]


def test_a_library_that_is_broken_at_the_start_is_an_error(loads: Loads) -> None:
    change(loads.folder, "broken")
    with pytest.raises(PromptError):
        LiveLibrary(loads, loads.folder)


def test_what_is_broken_from_the_start_leaves_the_library_from_before_in_use(loads: Loads) -> None:
    before = loads()
    change(loads.folder, FRONT + "{% if %}")
    live = LiveLibrary(loads, loads.folder, before=before)
    assert live.current() is before
    assert live.trouble is not None
    change(loads.folder, FRONT + "Mended")
    assert live.current() is not before
    assert live.trouble is None


def test_while_one_thread_reads_the_others_wait_for_what_it_reads(loads: Loads) -> None:
    """The next delivery is worked on with the changed prompt, also where somebody else noticed the change first."""
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> Library:
        if loads.times == 1:
            reading.set()
            assert go_on.wait(10)
        return loads()

    live = LiveLibrary(slow, loads.folder)
    old = live.latest
    change(loads.folder, FRONT + "Other words")
    got: list[Library] = []
    threads = [threading.Thread(target=lambda: got.append(live.current())) for _ in range(2)]
    threads[0].start()
    assert reading.wait(10)
    threads[1].start()
    assert live.latest is old, "the door does not wait"
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert got == [live.latest, live.latest]
    assert live.latest is not old
    assert loads.times == 2


def test_what_changes_while_it_is_read_is_read_again(loads: Loads) -> None:
    def changing() -> Library:
        library = loads()
        if loads.times == 1:
            change(loads.folder, FRONT + "Changed meanwhile")
        return library

    live = LiveLibrary(changing, loads.folder)
    first = live.latest.prompts["issues/plain"].id
    assert live.current().prompts["issues/plain"].id != first
