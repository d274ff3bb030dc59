"""Tests of the pages about prompts: the examples run, and the tables are complete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from hls_handler.analysis import REPLY_TYPES, GenericAnalysis
from hls_handler.engine.library import all_variables, families
from hls_handler.errors import PromptError
from hls_handler.prompting import recorded
from hls_handler.prompting.environment import COMMENT_FILTERS, PROMPT_FILTERS
from hls_handler.prompting.front_matter import FrontMatter
from hls_handler.prompting.library import load_library
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import COMMENT, COMMON, render, render_comment
from hls_handler.prompting.variables import find_element_type, has_members, iter_alternatives
from hls_handler.routing import Router, Rule
from hls_handler.settings.effective import (
    RepositoryTable,
    find_chosen_events,
)
from hls_handler.settings.model import Settings
from hls_handler.untrusted.placeholders import public_hints
from tests.prompting.samples import (
    ANALYSIS,
    FAMILIES,
    FRONT,
    KEY,
    SHIPPED,
    copy_shipped,
    issue_variables,
    push_variables,
    shipped,
    write,
)
from tests.routing.world import routing_input
from tests.settings.files import SMALLEST
from tests.settings.files import load as load_settings_of

DOCS = Path(__file__).parent.parent.parent / "docs"
GUIDE = "\n".join(
    (DOCS / name).read_text(encoding="utf-8") for name in ("prompts.md", "prompts-reference.md")
)
BLOCKS = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
"""(language, rest of the opening line, content) of every fenced block."""

COMMENTS = [
    content
    for language, words, content in BLOCKS
    if (language, words.strip()) == ("jinja", "comment")
]
FILES = {
    words.strip().removeprefix("file="): content
    for _, words, content in BLOCKS
    if words.startswith(" file=issues/")
}
"""Files of the first prompt; test_make_it_your_own.py tests the examples of "Make it your own"."""
FAILING = [
    (content, BLOCKS[index + 1][2])
    for index, (language, words, content) in enumerate(BLOCKS)
    if (language, words.strip()) == ("jinja", "error")
]


def parts() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in SHIPPED.glob("*.j2")}


def load_examples(folder: Path, files: dict[str, str]) -> Library:
    """Load examples that are all for the same event, as if settings chose one of them."""
    return load_library(
        write(folder, parts() | files), families=FAMILIES, chosen=frozenset({"issues.opened"})
    )


def test_working_examples_render(tmp_path: Path) -> None:
    working = [content for language, words, content in BLOCKS if language == "jinja" and not words]
    assert sorted(FILES) == ["issues/mine.comment.md.j2", "issues/mine.j2"]
    files = FILES | {
        f"issues/example{number}.j2": FRONT + content for number, content in enumerate(working)
    }
    (files["issues/shown.comment.md.j2"],) = COMMENTS
    library = load_examples(tmp_path, files | {"issues/shown.j2": FRONT + "x"})
    for name in library.prompts.keys() - {"issues/shown"}:
        assert "<untrusted " in render(library, name, issue_variables(), key=KEY).task
    variables = {**issue_variables(), "analysis": ANALYSIS}
    mine, shown = (
        render_comment(library, f"issues/{name}", variables, key=KEY) or ""
        for name in ("mine", "shown")
    )
    assert mine.startswith(
        f"{ANALYSIS.summary}\n\n- The version of the shop\n- Whether tax is shown as well\n"
    )
    assert "| Checkout shows a wrong total | bug |" in shown


def test_example_for_another_event_is_one_file_and_works(tmp_path: Path) -> None:
    """It is rendered with the recorded payloads, as by `hls check`."""
    another_event = {
        words.strip().removeprefix("generic="): text
        for _, words, text in BLOCKS
        if "generic=" in words
    }
    assert list(another_event) == ["deployment_status/watch.j2"]
    library = load_library(write(tmp_path, another_event), families=families(), shipped=SHIPPED)
    assert library.on("deployment_status.created") == ("deployment_status/watch",)
    variables = {**push_variables(), "event": recorded.load("deployment_status.created").payload}
    asked = render(library, "deployment_status/watch", variables, key=KEY).task
    assert "Has the deployment to <untrusted " in asked
    reply = GenericAnalysis(
        worth_saying=True, summary="It failed.", details="Ask the release team."
    )
    comment = render_comment(
        library, "deployment_status/watch", {**variables, "analysis": reply}, key=KEY
    )
    assert comment is not None
    assert comment.startswith("It failed.\n\nAsk the release team.\n\n***\n")


def test_failing_examples_give_the_message_in_the_guide(tmp_path: Path) -> None:
    with pytest.raises(PromptError) as caught:
        load_examples(
            tmp_path,
            {f"issues/{number}.j2": FRONT + content for number, (content, _) in enumerate(FAILING)},
        )
    folder = tmp_path.as_posix()
    assert [
        re.sub(rf"{folder}/issues/\d", "prompts/issues/example", one)
        for one in caught.value.problems
    ] == [message.strip() for _, message in FAILING]


def example_of(language: str, words: str) -> str:
    return next(
        str(content)
        for kind, given, content in BLOCKS
        if (kind, given.strip()) == (language, words)
    )


def load_with(folder: Path, kind: str, example: str) -> tuple[Settings, Library]:
    """Load the smallest settings with an example, and the prompts in `own` and the shipped ones of
    a kind.
    """
    text = (
        SMALLEST.partition("repositories:")[0] if "repositories:" in example else SMALLEST
    ) + example
    if "directory:" not in text:
        text = text.replace("prompts:\n", "prompts:\n  directory: [own, shipped]\n")
    folders = write(folder / "own", {"README.md": ""}), copy_shipped(folder, kind)
    settings = load_settings_of(folder, text.replace("[own, shipped]", "[{}, {}]".format(*folders)))
    chosen = find_chosen_events(settings)
    config = all_variables(settings)
    return settings, load_library(
        *folders, families=FAMILIES, shipped=SHIPPED, chosen=chosen, config=config
    )


def test_example_with_own_values_shows_those_of_the_repository(tmp_path: Path) -> None:
    write(tmp_path / "own", {"issues/analyze.j2": example_of("jinja", "config")})
    settings, library = load_with(tmp_path, "issues", example_of("yaml", "config"))
    effective = RepositoryTable(settings).find("octo/shop")
    assert effective is not None
    variables = {**issue_variables(), "config": effective.variables}
    task = render(library, "issues/analyze", variables, key=KEY).task
    assert task.startswith("Issue for shop: <untrusted ")
    assert task.endswith("Our areas: cart, search")


def test_example_for_merged_pull_requests_is_routed_to_the_changelog_prompt(tmp_path: Path) -> None:
    settings, library = load_with(tmp_path, "pull_requests", example_of("yaml", "closed"))
    event = routing_input("pull_request.closed", repository="octo/shop")
    rule = Router(settings, RepositoryTable(settings), library).route(event)
    assert isinstance(rule, Rule)
    assert (rule.prompt, rule.effective.find_fallback_number(rule.event_key)) == (
        "pull_requests/changelog",
        12,
    )


# --- tables
# -----------------------------------------------------------------------------


def row(name: str) -> str:
    """Return the table row that begins with a name, with the rows to which it refers by "as
    `comment`".
    """
    found = re.search(rf"^\| `{re.escape(name)}[`(].*$", GUIDE, re.MULTILINE)
    assert found is not None, f"docs/prompts-reference.md has no row for {name}"
    return "\n".join((found[0], *map(row, re.findall(r"\bas `(\w+)`", found[0]))))


ALL_VARIABLES: Mapping[str, object] = {
    **COMMON,
    **COMMENT,
    **{name: hint for family in FAMILIES.values() for name, hint in family.variables.items()},
    **{
        name: hint
        for family in FAMILIES.values()
        for name, hint in family.comment_variables.items()
    },
}


def test_every_variable_is_in_the_guide_with_its_members() -> None:
    for name, hint in ALL_VARIABLES.items():
        table_row = row(name)
        for kind in iter_alternatives(find_element_type(hint) or hint):
            members = public_hints(kind) if has_members(kind) else ()
            assert [member for member in members if f"`{member}`" not in table_row] == [], name


def test_filters_keys_of_the_front_matter_and_reply_types_are_in_the_guide() -> None:
    for name in (*PROMPT_FILTERS, *COMMENT_FILTERS, *FrontMatter.model_fields):
        assert row(name)
    for name, reply in REPLY_TYPES.items():
        assert [field for field in reply.model_fields if f"`{field}`" not in row(name)] == [], name


def test_guide_gives_reasons_for_the_wording_of_every_shipped_prompt() -> None:
    reasons = (DOCS / "prompts-reasons.md").read_text(encoding="utf-8")
    prompts = shipped().prompts.keys() - {"pull_requests/verify"} | {"base.j2", "generic.j2"}
    assert set(re.findall("^## `(.*)`$", reasons, re.MULTILINE)) == prompts
