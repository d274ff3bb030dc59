"""A library from several folders: each file is taken from the first folder that has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hls_handler.errors import PromptError
from hls_handler.prompting.library import ReloadingLibrary, load_library
from hls_handler.prompting.prompt import Library, origin
from hls_handler.prompting.render import render
from tests.prompting.samples import BASE, FAMILIES, FRONT, KEY, issue_variables, write

WORDS = "Own words on {{ issue.title }}\n"
TEAM = {
    "base.j2": BASE,
    "issues/_issue.j2": "{{ issue.title }}\n",
    "issues/plain.j2": f'{FRONT}Judge this.\n{{% include "issues/_issue.j2" %}}\n',
    "issues/plain.comment.md.j2": "{{ analysis.summary }}\n",
    "issues/other.j2": FRONT.replace("opened", "edited") + "Judge {{ issue.title }}\n",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "team", TEAM)
    return tmp_path


def load(own: dict[str, str], *, shipped: dict[str, str] | None = None) -> Library:
    """Load a library from `own`, then `team`, then the shipped library."""
    write(Path("own"), own)
    Path("own").mkdir(exist_ok=True)
    shipped_folder = write(Path("shipped"), {"base.j2": BASE} if shipped is None else shipped)
    return load_library(Path("own"), Path("team"), families=FAMILIES, shipped=shipped_folder)


def task(library: Library, name: str = "issues/plain") -> str:
    return render(library, name, issue_variables(), key=KEY).task


def origin_of(library: Library, name: str = "issues/plain") -> str:
    return origin(library.sources[name], Path("shipped"))


def test_file_is_taken_from_the_first_folder_that_has_it() -> None:
    library = load({"issues/plain.j2": f'{FRONT}Weigh this.\n{{% include "issues/_issue.j2" %}}\n'})
    assert list(library.prompts) == ["issues/other", "issues/plain"]
    assert task(library).startswith("Weigh this.\n<untrusted ")
    assert "issues/plain" in library.comments
    assert (library.prompts["issues/plain"].path, library.prompts["issues/other"].path) == (
        "own/issues/plain.j2",
        "team/issues/other.j2",
    )


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, "team/issues/plain.j2, your own"),
        ({"issues/plain.j2": f"{FRONT}x\n"}, "own/issues/plain.j2, your own; from team: base.j2, comment"),
        ({"issues/plain.j2": WORDS}, "own/issues/plain.j2, your own; from team: front matter, base.j2, comment"),
        ({"issues/_issue.j2": "x"}, "team/issues/plain.j2, your own; from own: issues/_issue.j2"),
    ],
    ids=["nothing", "a prompt", "its words", "a part"],
)
def test_origin_names_the_folder_of_each_file(own: dict[str, str], expected: str) -> None:
    assert origin_of(load(own)) == expected


def test_template_without_front_matter_uses_that_of_the_next_folder_before_the_shipped_one() -> None:
    library = load({"issues/plain.j2": WORDS}, shipped=TEAM | {"issues/plain.j2": FRONT.replace("A test", "Shipped")})
    assert "description: A test" in library.sources["issues/plain"].front
    assert task(library).startswith("Own words on <untrusted ")


def test_template_without_front_matter_in_any_folder_uses_the_shipped_front_matter_and_comment(here: Path) -> None:
    write(here / "team", {"issues/plain.j2": "Words of the team"})
    (here / "team/issues/plain.comment.md.j2").unlink()
    library = load({"issues/plain.j2": WORDS}, shipped=TEAM)
    assert origin_of(library) == (
        "own/issues/plain.j2, your own; from the shipped library: front matter, comment; from team: base.j2"
    )


def test_shipped_comment_is_not_used_with_front_matter_of_another_folder(here: Path) -> None:
    (here / "team/issues/plain.comment.md.j2").unlink()
    assert "issues/plain" not in load({"issues/plain.j2": WORDS}, shipped=TEAM).comments


def problems(own: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(PromptError) as caught:
        load(own)
    return caught.value.problems


def test_every_missing_folder_is_reported(here: Path) -> None:
    with pytest.raises(PromptError) as caught:
        load_library(Path("a"), Path("team"), Path("b"), families=FAMILIES)
    assert caught.value.problems == (
        f"{here}/a:1: there is no such folder; check prompts.directory in the settings",
        f"{here}/b:1: there is no such folder; check prompts.directory in the settings",
    )


def test_folders_without_a_prompt_are_reported(here: Path) -> None:
    write(here / "a", {"base.j2": BASE})
    write(here / "b", {"_part.j2": "x"})
    with pytest.raises(PromptError) as caught:
        load_library(Path("a"), Path("b"), families=FAMILIES)
    assert caught.value.problems == (
        f"{here}/a:1: there is no prompt in any of a, b; a prompt is a file such as issues/analyze.j2",
    )


@pytest.mark.parametrize("folder", ["own", "team"])
def test_change_in_any_folder_is_used_from_the_next_delivery(here: Path, folder: str) -> None:
    write(here / "own", {"_unused.j2": "x"})

    def read() -> Library:
        return load_library(Path("own"), Path("team"), families=FAMILIES)

    live = ReloadingLibrary(read, Path("own"), Path("team"))
    write(here / folder, {"issues/plain.j2": f"{FRONT}Changed"})
    os.utime(here / folder / "issues/plain.j2", (2_000_000_000, 2_000_000_000))
    assert task(live.current()) == "Changed"
