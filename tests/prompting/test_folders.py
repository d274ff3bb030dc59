"""A library from several folders, of which the first with a file provides it, and from the shipped
library.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.errors import PromptError
from hls_handler.prompting.library import load_library
from hls_handler.prompting.prompt import Library, origin
from hls_handler.prompting.render import render
from hls_handler.prompting.source_files import SHIPPED_FRONT_MATTER, read_folder
from tests.prompting.samples import BASE, FAMILIES, FRONT, KEY, SHIPPED, issue_variables, write

README = (SHIPPED.parent / "README.md").read_text(encoding="utf-8")
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


def test_file_is_taken_from_the_first_folder_that_has_it() -> None:
    library = load({"issues/plain.j2": f'{FRONT}Weigh this.\n{{% include "issues/_issue.j2" %}}\n'})
    assert {name: prompt.path for name, prompt in library.prompts.items()} == {
        "issues/other": "team/issues/other.j2",
        "issues/plain": "own/issues/plain.j2",
    }
    assert task(library).startswith("Weigh this.\n<untrusted ")
    assert "issues/plain" in library.comments


def test_template_without_front_matter_uses_that_of_the_next_folder_before_the_shipped_one(
    here: Path,
) -> None:
    shipped = TEAM | {"issues/plain.j2": FRONT.replace("A test", "Shipped")}
    library = load({"issues/plain.j2": WORDS}, shipped=shipped)
    assert "description: A test" in library.sources["issues/plain"].front
    assert task(library).startswith("Own words on <untrusted ")
    (here / "team/issues/plain.comment.md.j2").unlink()
    assert "issues/plain" not in load({"issues/plain.j2": WORDS}, shipped=shipped).comments
    write(here / "team", {"issues/plain.j2": "Words of the team"})
    assert (
        origin(
            load({"issues/plain.j2": WORDS}, shipped=TEAM).sources["issues/plain"], Path("shipped")
        )
        == "own/issues/plain.j2, your own; from the shipped library: front matter, comment; from"
        " team: base.j2"
    )


def test_shipped_library_is_recognised_through_a_symlink(here: Path) -> None:
    (here / "link").symlink_to(here / "team")
    library = load_library(Path("link"), families=FAMILIES, shipped=here / "team")
    assert (
        origin(library.sources["issues/plain"], here / "team")
        == "link/issues/plain.j2, in the shipped library"
    )


def test_missing_folders_and_folders_without_a_prompt_are_reported(here: Path) -> None:
    with pytest.raises(PromptError) as caught:
        load_library(Path("a"), Path("team"), Path("b"), families=FAMILIES)
    assert caught.value.problems == (
        f"{here}/a:1: there is no such folder; check prompts.directory in the settings",
        f"{here}/b:1: there is no such folder; check prompts.directory in the settings",
    )
    write(here / "a", {"base.j2": BASE})
    write(here / "b", {"_part.j2": "x"})
    with pytest.raises(PromptError) as caught:
        load_library(Path("a"), Path("b"), families=FAMILIES)
    assert caught.value.problems == (
        (
            f"{here}/a:1: there is no prompt in any of a, b; a prompt is a file such as"
            " issues/analyze.j2"
        ),
    )


# --- a template without front matter, in place of a shipped one
# ------------------------------------------------------

FRONT_KEYS = "description: x\non: [issues.opened]\nreply: issue_analysis\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f" ---\n{FRONT_KEYS}---\nx", 1),
        (f" \n\n--\n{FRONT_KEYS}--\nx", 3),
        (f"---\n{FRONT_KEYS}x", 1),
    ],
)
def test_mistake_in_a_fence_is_reported_instead_of_using_the_shipped_front_matter(
    here: Path, text: str, line: int
) -> None:
    write(here / "mine", {"issues/analyze.j2": text})
    with pytest.raises(PromptError) as caught:
        load_library(Path("mine"), families=FAMILIES, shipped=SHIPPED)
    sentence = (
        "front matter must stand between two lines that are exactly ---, the first of them in"
        " line 1"
    )
    assert caught.value.problems == (f"{here}/mine/issues/analyze.j2:{line}: {sentence}",)


def test_what_is_no_front_matter_is_text_except_a_byte_order_mark(here: Path) -> None:
    marked = f"\ufeff{FRONT.replace('[issues.opened]', '[]')}Sort {{{{ issue.title }}}}"
    write(
        here / "mine",
        {"issues/analyze.j2": "----\nSort {{ issue.title }}", "issues/marked.j2": marked},
    )
    library = load_library(Path("mine"), families=FAMILIES, shipped=SHIPPED)
    assert task(library, "issues/analyze").startswith("----\nSort <untrusted ")
    assert task(library, "issues/marked").startswith("Sort <untrusted ")


def test_copies_of_the_shipped_front_matter_are_up_to_date() -> None:
    """To correct it: python -m tests.github_fake.samples"""
    shipped = {
        name: source.front
        for name, source in read_folder(SHIPPED).sources.items()
        if source.front is not None
    }
    assert {
        name: source.front for name, source in read_folder(SHIPPED_FRONT_MATTER).sources.items()
    } == shipped


FIRST = FRONT.replace(
    "---\nd", "---\nthen: {prompt: issues/second, when: \"analysis.kind == 'question'\"}\nd"
)
SECOND = "---\ndescription: y\nreply: issue_response\n---\n"
CHAIN = {
    "base.j2": BASE,
    "issues/first.j2": f"{FIRST}First {{{{ issue.title }}}}",
    "issues/second.j2": f"{SECOND}Second {{{{ issue.title }}}}",
    "issues/second.comment.md.j2": "{{ analysis.answer }}",
    "issues/unrelated.j2": FRONT.replace("opened", "edited") + "x {{ issue.title }}",
}


@pytest.mark.parametrize("front", ["", FIRST])
def test_folder_without_the_prompt_of_a_then_uses_the_shipped_one(here: Path, front: str) -> None:
    own = write(here / "mine", {"issues/first.j2": f"{front}Own {{{{ issue.title }}}}"})
    library = load_library(own, families=FAMILIES, shipped=write(here / "theirs", CHAIN))
    assert library.followers("issues/first") == ("issues/second",)
    assert {
        prompt: found.path.startswith(f"{here}/mine") for prompt, found in library.prompts.items()
    } == {
        "issues/first": True,
        "issues/second": False,
    }
    assert "issues/second" in library.comments


def test_five_lines_of_the_readme_replace_the_shipped_prompt(tmp_path: Path) -> None:
    prompt = README.partition("```jinja\n")[2].partition("```\n")[0]
    assert prompt.count("\n") == 5
    own = write(tmp_path / "my-prompts", {"issues/analyze.j2": prompt})
    library = load_library(own, families=FAMILIES, shipped=SHIPPED)
    asked = task(library, "issues/analyze")
    assert asked.startswith("Analyze this GitHub issue of ")
    assert "\nProvide type, priority, difficulty, suggested labels" in asked
    assert library.prompts["issues/analyze"].path.endswith("my-prompts/issues/analyze.j2")
