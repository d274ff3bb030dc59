"""Repository settings in the pipeline: read, stored, merged with the settings, and reported if they
are invalid.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hls_handler.engine.repository_settings import to_stored_file
from hls_handler.github.values import FileAtRef
from hls_handler.prompting.library import load_library
from hls_handler.prompting.prompt import Library
from hls_handler.reports.delivery_report import format_report
from hls_handler.settings.model import Settings
from tests.engine.claude import CLAUDE_DOWN
from tests.engine.world import BUG, GUID, Ended, MakeWorld, World, settings
from tests.github_fake.files import set_file
from tests.prompting.samples import BASE, FAMILIES, write

FILE = ".github/hls.yaml"
READ = f"GET /contents/{FILE}"
FEATURES = {"repository_settings": True}
WAIT = "wait: GitHub is temporarily unavailable (https://www.githubstatus.com)"
DONE = "added bug, priority-low, difficulty-easy; commented"


def put_file(world: World, text: str | None, *, branch: str | None = None) -> None:
    set_file(world.github.state, world.github.repository, FILE, text, branch=branch)


def make_world_with_file(
    make_world: MakeWorld, text: str | None, *replies: object, given: Settings | None = None
) -> World:
    world = make_world(*replies, given=given or settings(features=FEATURES))
    put_file(world, text)
    world.accept()
    return world


def file_requests(world: World) -> list[str]:
    return [call for call in world.github.calls if "/contents/" in call]


# --- content
# -----------------------------------------------------------------------------


def test_file_switches_comments_off_and_its_line_is_reported(make_world: MakeWorld) -> None:
    world = make_world_with_file(make_world, "# ours\nfeatures:\n  auto_commenting: false\n")
    assert world.run() == Ended(
        GUID,
        "done",
        "added bug, priority-low, difficulty-easy; "
        "comments are switched off by .github/hls.yaml:3 (features.auto_commenting)",
    )
    assert world.github.comments == {}
    assert (
        "  Repository settings: .github/hls.yaml (fd0f7f4e5b) applies on top of the settings."
        in list(format_report(world.report()))
    )


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (
            "enabled: false",
            "repository disabled",
            (
                "Codertocat/Hello-World is switched off by .github/hls.yaml:1 (enabled); "
                "set this key to true to process it"
            ),
        ),
        (
            "\n\nprompts: {use: {issues: false}}",
            "prompt switched off",
            (
                ".github/hls.yaml:3 (prompts.use.issues) switches the prompt for issues.opened off;"
                " remove that line to process it"
            ),
        ),
    ],
)
def test_event_that_the_file_disables_is_ignored_without_a_call(
    make_world: MakeWorld, text: str, kind: str, reason: str
) -> None:
    world = make_world_with_file(make_world, text)
    assert world.run() == Ended(GUID, "ignored", reason)
    assert (world.row().reason_kind, world.claude.asked) == (kind, [])


def test_rule_23_file_cannot_enable_an_event_that_the_operator_disables(
    make_world: MakeWorld,
) -> None:
    world = make_world_with_file(
        make_world,
        "prompts: {use: {issues.opened: issues/analyze}}",
        given=settings(features=FEATURES, repository={"events": ["pull_request"]}),
    )
    assert world.run() is not None
    assert (world.row().reason_kind, world.github.calls) == ("event not enabled", [])


def test_file_chooses_one_of_the_prompts_of_the_operator(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    def make_prompts(folder: Path) -> Library:
        front = "---\ndescription: x\non: [issues.opened]\nreply: issue_analysis\n---\n"
        files = {"issues/brief.j2": f"{front}Briefly: {{{{ issue.title }}}}\n"}
        files["issues/analyze.j2"] = f"{front}At length: {{{{ issue.title }}}}\n"
        written = write(folder / "prompts", {"base.j2": BASE, **files})
        return load_library(written, families=FAMILIES, chosen=frozenset({"issues.opened"}))

    world = make_world_with_file(
        make_world,
        "prompts: {use: {issues: issues/brief}}\ncomments: {language: German}\n",
        given=settings(features=FEATURES, prompts={"use": {"issues.opened": "issues/analyze"}}),
    )
    world.prompts = make_prompts(tmp_path)
    world.run()
    assert [asked.prompt.name for asked in world.claude.asked] == ["issues/brief"]
    assert (
        world.report().rule
        == f".github/hls.yaml:1 (prompts.use.issues) chooses {tmp_path}/prompts/issues/brief.j2 for"
        " issues.opened"
    )


def test_operator_can_switch_repository_settings_off(make_world: MakeWorld) -> None:
    world = make_world_with_file(
        make_world, "enabled: false", given=settings(features={"repository_settings": False})
    )
    assert world.run() == Ended(GUID, "done", DONE)
    assert file_requests(world) == []


# --- reading
# -----------------------------------------------------------------------------


def test_rule_23_only_the_file_of_the_default_branch_is_read(make_world: MakeWorld) -> None:
    """A pull request can contain any file."""
    world = make_world_with_file(make_world, None)
    put_file(world, "features: {auto_commenting: false}", branch="changes")
    assert world.run() == Ended(GUID, "done", DONE)
    assert file_requests(world) == [READ]


def test_file_is_read_once_in_five_minutes(make_world: MakeWorld) -> None:
    world = make_world_with_file(make_world, None)
    world.run()
    put_file(world, "enabled: false")
    world.advance(290)
    assert world.process(guid="g2") == Ended(
        "g2", "done", "the labels are as they should be; our comment is up to date"
    )
    world.advance(20)
    assert world.process(guid="g3").state == "ignored"
    assert len(file_requests(world)) == 2


def test_retry_uses_the_file_of_the_first_attempt(make_world: MakeWorld) -> None:
    world = make_world_with_file(make_world, "features: {auto_commenting: false}", CLAUDE_DOWN, BUG)
    assert world.run() is None
    put_file(world, None)
    world.advance(3600)
    assert world.finish().state == "done"
    assert (world.github.comments, len(file_requests(world))) == ({}, 1)


def test_unknown_file_delays_the_delivery_while_github_is_down(make_world: MakeWorld) -> None:
    world = make_world_with_file(make_world, "features: {auto_commenting: false}")
    world.github.fail(502, READ)
    assert world.run() is None
    assert (world.row().state, world.row().reason, world.row().analysis_status) == (
        "queued",
        "GET /repos/Codertocat/Hello-World/contents/.github/hls.yaml: 502 Fault; " + WAIT,
        "failed",
    )
    assert world.claude.asked == []


def test_last_known_file_applies_while_github_is_down(make_world: MakeWorld) -> None:
    world = make_world_with_file(make_world, "features: {auto_commenting: false}")
    world.run()
    world.advance(301)
    world.accept(guid="g2")
    world.github.fail(502, READ)
    assert world.finish().state == "done"
    assert world.github.comments == {}
    assert (
        world.report("g2").repository_settings
        == ".github/hls.yaml could not be read, so the last known version (15756ef2dd) applies: GET"
        " /repos/Codertocat/Hello-World/contents/.github/hls.yaml: 502 Fault"
    )


# --- problems
# -----------------------------------------------------------------------------

BROKEN = "lables: {}\n"


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        (BROKEN, ".github/hls.yaml:1: lables: unknown key; did you mean labels?"),
        (
            "#" * 1_000_001,
            ".github/hls.yaml is larger than 65536 bytes, the limit for this file",
        ),
    ],
    ids=["unknown key", "huge"],
)
def test_invalid_file_is_reported_in_the_conversation(
    make_world: MakeWorld, text: str, expected_text: str
) -> None:
    world = make_world_with_file(make_world, text)
    assert world.run() == Ended(GUID, "done", DONE)  # with the operator's settings
    first, second = (comment.body for comment in world.github.conversation(1).comments)
    assert "Thanks to whoever fixes it." in first
    assert f"- `{expected_text}`" in second


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("labels: {allow: ['!bug']}\n", set()),
        ("labels: {allow: }\n", set()),
        ("labels: {deny: [priority-*, '{bug,docs}']}\n", {"bug", "difficulty-easy"}),
    ],
)
def test_mistake_in_a_list_of_the_first_file_sets_no_further_label(
    make_world: MakeWorld, text: str, labels: set[str]
) -> None:
    world = make_world_with_file(make_world, text)
    assert world.run() is not None
    assert set(world.github.labels.get(1, ())) == labels
    assert "- `.github/hls.yaml:1: labels." in "".join(world.github.comments.values())


def test_mistake_in_a_list_keeps_the_entries_of_the_last_good_version(
    make_world: MakeWorld,
) -> None:
    world = make_world_with_file(make_world, "labels: {deny: [bug, 'priority-*']}\n")
    world.run()
    put_file(world, "labels: {deny: ['{bug,docs}']}\n")
    world.advance(301)
    world.process(guid="g2")
    assert world.github.labels == {1: ("difficulty-easy",)}
    assert "has alternatives in braces" in world.github.conversation(1).comments[-1].body


def test_prompt_of_another_event_invalidates_only_its_line(make_world: MakeWorld) -> None:
    name = "pull_requests/analyze"
    world = make_world_with_file(
        make_world,
        f"features: {{auto_labeling: false}}\nprompts: {{use: {{issues.opened: {name}}}}}\n",
    )
    assert world.finish().state == "done"
    assert world.github.labels == {}
    assert [asked.prompt.name for asked in world.claude.asked] == ["issues/analyze"]
    where = ".github/hls.yaml:2: prompts.use.issues.opened"
    expected_text = f"{where}: the operator has no prompt {name} for issues.opened; there "
    assert expected_text in world.github.comments[1]


def test_rule_15_quoted_text_of_the_file_is_escaped_and_redacted(
    make_world: MakeWorld,
) -> None:
    token = "ghp_" + "a1B2" * 9
    world = make_world_with_file(
        make_world, f'"@octocat ` fixes #1 ![](http://x.example)": 1\nenabled: "{token}"\n'
    )
    world.run()
    expected_text = world.github.comments[1]
    assert "lables" not in expected_text
    assert token not in expected_text
    lines = [line for line in expected_text.splitlines() if line.startswith("- ")]
    assert len(lines) == 2
    quoted = "- `` .github/hls.yaml:1: @octocat ` fixes #1 ![](http://x.example): unknown key; "
    assert lines[0].startswith(quoted)
    assert lines[0].endswith(" ``")
    assert (lines[0].count("`"), lines[1].count("`"), len(lines)) == (5, 2, 2)


def test_rule_10_file_is_stored_without_credentials() -> None:
    text = f"comments: {{tone: formal}} # ghp_{'a1B2' * 9}\n"
    stored = to_stored_file(FileAtRef("file", "3f9c2a", text.encode()), None)
    redacted = "comments: {tone: formal} # [redacted: github-token]\n"
    assert (stored.text, stored.valid_text) == (redacted, redacted)


def test_problem_is_only_logged_if_comments_are_switched_off(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world_with_file(make_world, f"{BROKEN}features: {{auto_commenting: false}}\n")
    with caplog.at_level(logging.WARNING):
        world.run()
    assert world.github.comments == {}
    assert [record.message for record in caplog.records] == [
        "the repository settings cannot be used"
    ]
