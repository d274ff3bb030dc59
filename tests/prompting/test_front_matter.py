"""Front matter: mistakes in its fences, and the shipped front matter that a template without its own gets."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from hls_handler.errors import PromptError
from hls_handler.prompting.library import load_library
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render
from hls_handler.prompting.source_files import SHIPPED_FRONT_MATTER, read_folder
from tests.prompting.samples import BASE, FAMILIES, KEY, SHIPPED, USERS_TEMPLATE, issue_variables, write


def load_own(folder: Path, files: Mapping[str, str], *, shipped: Path = SHIPPED) -> Library:
    return load_library(write(folder, files), families=FAMILIES, shipped=shipped)


def problems(folder: Path, files: Mapping[str, str]) -> list[str]:
    try:
        load_own(folder, files)
    except PromptError as exc:
        return [problem.replace(f"{folder.as_posix()}/", "") for problem in exc.problems]
    return []


def test_byte_order_mark_of_a_template_without_front_matter_is_not_sent_to_claude(tmp_path: Path) -> None:
    library = load_own(tmp_path, {"issues/analyze.j2": "\ufeffSort {{ issue.title }}"})
    assert render(library, "issues/analyze", issue_variables(), key=KEY).task.startswith("Sort <untrusted ")


FRONT_KEYS = "description: x\non: [issues.opened]\nreply: issue_analysis\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"--\n{FRONT_KEYS}--\nx", "1: front matter begins with '--'; write exactly ---"),
        (f"----\n{FRONT_KEYS}----\nx", "1: front matter begins with '----'; write exactly ---"),
        (f" ---\n{FRONT_KEYS}---\nx", "1: front matter begins with ' ---'; write exactly ---"),
        (f"---\n{FRONT_KEYS}--\nx", "5: the front matter ends with '--'; write exactly ---"),
        (f"---\n{FRONT_KEYS}----\nx\n---\n", "5: the front matter ends with '----'; write exactly ---"),
        (f"\n---\n{FRONT_KEYS}---\nx", "2: front matter must begin in line 1; remove the blank lines above it"),
        (f" \n\n--\n{FRONT_KEYS}--\nx", "3: front matter must begin in line 1; remove the blank lines above it"),
        (
            f"\ufeff---\n{FRONT_KEYS}---\nx",
            "1: a byte order mark (BOM) precedes the front matter; save the file as UTF-8 without BOM",
        ),
        (f"---\n{FRONT_KEYS}x", "1: the front matter has no end; close it with a line ---"),
    ],
)
def test_mistake_in_a_fence_is_reported_instead_of_using_the_shipped_front_matter(
    tmp_path: Path, text: str, problem: str
) -> None:
    assert problems(tmp_path, {"issues/analyze.j2": text}) == [f"issues/analyze.j2:{problem}"]


def test_dashes_above_text_are_part_of_the_template(tmp_path: Path) -> None:
    library = load_own(tmp_path, {"issues/analyze.j2": "----\nSort {{ issue.title }}\n----"})
    assert render(library, "issues/analyze", issue_variables(), key=KEY).task.startswith("----\nSort <untrusted ")


def test_copies_of_the_shipped_front_matter_are_up_to_date() -> None:
    """To correct it: python -m hls_handler.sandbox.samples"""
    shipped = {name: source.front for name, source in read_folder(SHIPPED)[0].items() if source.front is not None}
    assert {name: source.front for name, source in read_folder(SHIPPED_FRONT_MATTER)[0].items()} == shipped


def test_template_that_replaces_a_shipped_file_keeps_the_shipped_front_matter_and_comment(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "prompts"))
    library = load_own(folder, {"issues/analyze.j2": USERS_TEMPLATE}, shipped=folder)
    shipped = load_library(SHIPPED, families=FAMILIES)
    assert library.prompts["issues/analyze"].on == ("issues.opened", "issues.reopened", "issues.edited")
    assert library.prompts.keys() == shipped.prompts.keys()
    assert library.comments == shipped.comments


FIRST = (
    "---\ndescription: x\non: [issues.opened]\nreply: issue_analysis\n"
    "then: {prompt: issues/second, when: \"analysis.kind == 'question'\"}\n---\n"
)
CHAIN = {
    "base.j2": BASE,
    "issues/first.j2": f"{FIRST}First {{{{ issue.title }}}}",
    "issues/second.j2": "---\ndescription: y\nreply: issue_response\n---\nSecond {{ issue.title }}",
    "issues/second.comment.md.j2": "{{ analysis.answer }}",
    "issues/unrelated.j2": FIRST.replace("opened", "edited").partition("then:")[0] + "---\nx {{ issue.title }}",
}


@pytest.mark.parametrize(
    "own",
    [
        {"issues/first.j2": "Own {{ issue.title }}"},
        {"issues/second.j2": "Own {{ issue.title }}"},
        {"issues/first.j2": f"{FIRST}Own {{{{ issue.title }}}}"},
        {"issues/second.j2": "---\ndescription: z\nreply: issue_response\n---\nOwn {{ issue.title }}"},
    ],
    ids=["first", "second", "first with front matter", "second with front matter"],
)
def test_folder_with_one_of_two_chained_prompts_uses_the_shipped_other_one(tmp_path: Path, own: dict[str, str]) -> None:
    library = load_own(tmp_path / "own", own, shipped=write(tmp_path / "shipped", CHAIN))
    assert list(library.prompts) == ["issues/first", "issues/second"]
    assert library.followers("issues/first") == ("issues/second",)
    own_name = next(iter(own)).removesuffix(".j2")
    assert {name: prompt.path.startswith(f"{tmp_path}/own") for name, prompt in library.prompts.items()} == {
        "issues/first": own_name == "issues/first",
        "issues/second": own_name == "issues/second",
    }
    assert ("issues/second" in library.comments) == ("---" not in own.get("issues/second.j2", ""))
