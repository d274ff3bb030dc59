"""`hls render`: which prompt and settings of the repository it uses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from hls_handler.store.repositories import StoredFile
from hls_handler.store.storage import Storage
from tests.cli.conftest import SETTINGS, Hls
from tests.prompting.samples import copy_shipped, write
from tests.queue.builders import begin

REPOSITORY = "Codertocat/Hello-World"
USE = "{use: {issues.opened: issues/own}}"
OWN = "---\ndescription: x\non: [issues.pinned]\nreply: issue_analysis\n---\nOwn question: {{ issue.title }}"


@pytest.fixture
def render(hls: Hls, folder: Path) -> Hls:
    """`hls render issues.opened` with a prompt of its own beside the shipped ones for issues."""
    copy_shipped(folder, "issues")
    write(folder / "prompts", {"issues/own.j2": OWN})
    return partial(hls, "render", "issues.opened")


def configure(folder: Path, *, use: str = "{}", entry: str = "") -> None:
    text = SETTINGS.replace("octo/widgets, ", f"{REPOSITORY}, {entry}")
    prompts = f"prompts: {{directory: prompts, use: {use}}}\n"
    (folder / "settings.yaml").write_text(text + prompts)


@pytest.mark.parametrize(
    ("use", "entry", "prompt"),
    [
        ("{}", "", "issues/analyze"),
        ("{issues.opened: issues/own}", "", "issues/own"),
        ("{issues: issues/own}", "", "issues/own"),
        ("{}", f"prompts: {USE}, ", "issues/own"),
        ("{issues: issues/own}", "prompts: {use: {issues: issues/analyze}}, ", "issues/analyze"),
    ],
)
def test_prompt_is_the_one_that_the_settings_choose(
    render: Hls, folder: Path, use: str, entry: str, prompt: str
) -> None:
    configure(folder, use=use, entry=entry)
    result = render()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"prompt      {prompt}@")


def test_settings_in_the_repository_apply_as_they_were_read_last(
    render: Hls, folder: Path, store: Storage
) -> None:
    configure(folder)
    text = f"prompts: {USE}\n"
    stored = StoredFile("v1", text, valid_version="v1", valid_text=text)
    store.repository_files.save(begin(store, "g1"), 1, REPOSITORY, "hls", stored)
    assert render().stdout.startswith("prompt      issues/own@")


def test_event_without_a_prompt_has_the_reason_and_the_option(render: Hls, folder: Path) -> None:
    configure(folder, use="{issues.opened: false}")
    result = render()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"{folder}/settings.yaml:5 (prompts.use.issues.opened) switches the prompt for issues.opened"
        " off; remove that line to process it; or choose a prompt with --prompt\n"
    )
    assert render("--prompt", "issues/own").stdout.startswith("prompt      issues/own@")
