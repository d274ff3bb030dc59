"""Source files of a prompt, their origin, and the diff of two prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.prompting.library import load_library
from hls_handler.prompting.prompt import PromptSources, diff_prompts, origin
from tests.prompting.samples import BASE, FAMILIES, FRONT, write

SHIPPED = {
    "base.j2": BASE,
    "_footer.md.j2": "by HLS\n",
    "issues/_issue.j2": "{{ issue.title }}\n",
    "issues/plain.j2": f'{FRONT}Judge this.\n{{% include "issues/_issue.j2" %}}\n',
    "issues/plain.comment.md.j2": '{{ analysis.summary }}\n{% include "_footer.md.j2" %}\n',
}


def find_sources(folder: Path, files: dict[str, str], name: str = "issues/plain") -> PromptSources:
    """Return the sources of a prompt in `lib` with the shipped library in `shipped`."""
    write(folder / "shipped", SHIPPED)
    write(folder / "lib", files)
    return load_library(Path("lib"), families=FAMILIES, shipped=folder / "shipped").sources[name]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_shipped_library_is_recognised_through_a_symlink(here: Path) -> None:
    write(here / "shipped", SHIPPED)
    (here / "lib").symlink_to(here / "shipped")
    assert origin(find_sources(here, {}), here / "shipped") == "lib/issues/plain.j2, in the shipped library"


def shipped(here: Path) -> PromptSources:
    return load_library(here / "shipped", families=FAMILIES).sources["issues/plain"]


def test_template_with_inherited_front_matter_differs_only_in_the_template(here: Path) -> None:
    equal = find_sources(here, {"issues/plain.j2": SHIPPED["issues/plain.j2"].removeprefix(FRONT)})
    assert diff_prompts(shipped(here), equal) == []
    sources = find_sources(here, {"issues/plain.j2": 'Weigh this.\n{% include "issues/_issue.j2" %}\n'})
    assert diff_prompts(shipped(here), sources) == [
        f"--- {here}/shipped/issues/plain.j2",
        f"+++ lib/issues/plain.j2 (front matter of {here}/shipped/issues/plain.j2)",
        "@@ -3,5 +3,5 @@",
        " on: [issues.opened]",
        " reply: issue_analysis",
        " ---",
        "-Judge this.",
        "+Weigh this.",
        ' {% include "issues/_issue.j2" %}',
    ]


def test_file_of_only_one_prompt_is_compared_with_dev_null(here: Path) -> None:
    files = {"base.j2": BASE, "issues/a.j2": f"{FRONT}x\n", "issues/b.j2": f"{FRONT.replace('opened', 'edited')}x\n"}
    b = find_sources(here, files, "issues/b")
    for comment, lines in (("", []), ("One\n", ["@@ -1 +0,0 @@", "-One"])):
        a = find_sources(here, {"issues/a.comment.md.j2": comment}, "issues/a")
        end = ["--- lib/issues/a.comment.md.j2", "+++ /dev/null", *lines]
        assert diff_prompts(a, b)[-len(end) :] == end
