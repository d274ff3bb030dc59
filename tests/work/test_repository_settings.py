"""A repository's own settings in a delivery's work: asked for, remembered, laid over, and told of when wrong."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hls_handler.cli.deliveries import format_report, load_report
from hls_handler.deliveries import Finished
from hls_handler.errors import Permanent
from hls_handler.handlers.reader import FileAtRef
from hls_handler.prompting.library import load_library
from hls_handler.prompting.prompt import Library
from hls_handler.settings.model import Prompts, Settings
from tests.prompting.samples import BASE, FAMILIES, write
from tests.work.fakes import CLAUDE_DOWN, GITHUB_DOWN, ISSUE
from tests.work.world import BUG, GUID, MakeWorld, World, library, settings

AT = "master:.github/hls.yaml"
HEEDING = {"repository_settings": True}
DONE = "added bug, priority-low, difficulty-easy; commented"


def file(text: str, sha: str = "c0ffee") -> FileAtRef:
    return FileAtRef("file", sha, text.encode())


def having(make_world: MakeWorld, text: str | None, *replies: object, given: Settings | None = None) -> World:
    one = make_world(*replies, given=given or settings(features=HEEDING))
    if text is not None:
        one.github.files_at[AT] = file(text)
    one.accept()
    return one


def asked_for_the_file(one: World) -> list[str]:
    return [call for call in one.github.asked if call.startswith("find_file")]


def own_prompts(folder: Path) -> Library:
    front = "---\ndescription: x\non: [issues.opened]\nreply: issue_analysis\n---\n"
    files = {"issues/brief.j2": f"{front}Briefly: {{{{ issue.title }}}}\n"}
    files["issues/analyze.j2"] = f"{front}At length: {{{{ issue.title }}}}\n"
    written = write(folder / "prompts", {"base.j2": BASE, **files})
    return load_library(written, families=FAMILIES, chosen=frozenset({"issues.opened"}))


def offering_a_choice() -> Settings:
    """Two prompts for one event, of which the operator takes one."""
    prompts = Prompts(use={"issues.opened": "issues/analyze"})
    return settings(features=HEEDING).model_copy(update={"prompts": prompts})


# --- what it says --------------------------------------------------------------------------------------------------


def test_without_a_file_the_operators_settings_hold(make_world: MakeWorld) -> None:
    one = having(make_world, None)
    assert one.run() == Finished(GUID, "done", DONE)
    assert asked_for_the_file(one) == ["find_file .github/hls.yaml master"]
    assert load_report(one.store, one.row()).own_settings is None


def test_comments_that_it_switches_off_are_not_written_and_its_line_is_named(make_world: MakeWorld) -> None:
    one = having(make_world, "# ours\nfeatures:\n  auto_commenting: false\n")
    assert one.run() == Finished(
        GUID,
        "done",
        "added bug, priority-low, difficulty-easy; "
        "comments are switched off by .github/hls.yaml:3 (features.auto_commenting)",
    )
    assert one.github.comments == {}
    assert "  Repository settings: .github/hls.yaml (c0ffee) applies on top of the settings." in list(
        format_report(load_report(one.store, one.row()))
    )


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (
            "enabled: false",
            "repository disabled",
            "Codertocat/Hello-World is switched off by .github/hls.yaml:1 (enabled); set it to true to process it",
        ),
        (
            "\n\nprompts: {use: {issues: false}}",
            "prompt switched off",
            (
                ".github/hls.yaml:3 (prompts.use.issues) switches the prompt for issues.opened off; remove that line "
                "to process it"
            ),
        ),
    ],
)
def test_an_event_that_it_leaves_alone_is_ignored_and_costs_nothing(
    make_world: MakeWorld, text: str, kind: str, reason: str
) -> None:
    one = having(make_world, text)
    assert one.run() == Finished(GUID, "ignored", reason)
    assert (one.row().reason_kind, one.claude.asked) == (kind, [])


def test_an_ignored_event_is_looked_at_anew_when_it_is_redelivered(make_world: MakeWorld) -> None:
    one = having(make_world, "enabled: false")
    one.run()
    one.github.files_at.clear()
    one.later(301)
    one.accept()
    assert one.run() == Finished(GUID, "done", DONE)


def test_rule_23_it_cannot_let_in_what_the_operator_keeps_out(make_world: MakeWorld) -> None:
    given = settings(features=HEEDING)
    entry = given.repositories[0].model_copy(update={"events": ("pull_request",)})
    one = having(
        make_world,
        "prompts: {use: {issues.opened: issues/analyze}}",
        given=given.model_copy(update={"repositories": (entry,)}),
    )
    assert one.run() is not None
    assert (one.row().reason_kind, one.github.asked) == ("event not enabled", [])


def test_it_chooses_among_the_operators_prompts_and_how_comments_are_written(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    one = having(
        make_world, "prompts: {use: {issues: issues/brief}}\ncomments: {language: German}\n", given=offering_a_choice()
    )
    one.prompts = own_prompts(tmp_path)
    one.run()
    assert [asked.prompt.name for asked in one.claude.asked] == ["issues/brief"]
    assert load_report(one.store, one.row()).rule == (
        f".github/hls.yaml:1 (prompts.use.issues) chooses {tmp_path}/prompts/issues/brief.j2 for issues.opened"
    )


def test_the_operator_can_switch_all_of_it_off(make_world: MakeWorld) -> None:
    one = having(make_world, "enabled: false", given=settings(features={"repository_settings": False}))
    assert one.run() == Finished(GUID, "done", DONE)
    assert asked_for_the_file(one) == []


# --- reading it ----------------------------------------------------------------------------------------------------


def test_rule_23_only_the_default_branch_counts(make_world: MakeWorld) -> None:
    """A pull request may bring whatever file it likes."""
    one = having(make_world, None)
    one.github.files_at["changes:.github/hls.yaml"] = file("features: {auto_commenting: false}")
    assert one.run() == Finished(GUID, "done", DONE)
    assert asked_for_the_file(one) == ["find_file .github/hls.yaml master"]


def test_it_is_asked_for_once_in_five_minutes(make_world: MakeWorld) -> None:
    one = having(make_world, None)
    one.run()
    one.github.files_at[AT] = file("enabled: false")
    one.later(290)
    one.accept(guid="g2")
    assert one.run() == Finished("g2", "done", "added bug, priority-low, difficulty-easy; our comment is up to date")
    one.later(20)
    one.accept(guid="g3")
    assert (one.run() or Finished("", "dead", "")).state == "ignored"
    assert len(asked_for_the_file(one)) == 2


def test_a_retry_decides_as_the_first_try_did(make_world: MakeWorld) -> None:
    one = having(make_world, "features: {auto_commenting: false}", CLAUDE_DOWN, BUG)
    assert one.run() is None
    one.github.files_at.clear()
    one.later(3600)
    assert (one.run() or Finished("", "dead", "")).state == "done"
    assert (one.github.comments, len(asked_for_the_file(one))) == ({}, 1)


def test_a_deleted_file_holds_no_longer(make_world: MakeWorld) -> None:
    one = having(make_world, "enabled: false")
    one.run()
    one.github.files_at.clear()
    one.later(301)
    one.accept(guid="g2")
    assert one.run() == Finished("g2", "done", DONE)


def test_while_github_is_down_nothing_is_done_without_knowing_the_file(make_world: MakeWorld) -> None:
    one = having(make_world, "features: {auto_commenting: false}")
    one.github.failing.append(GITHUB_DOWN)
    assert one.run() is None
    assert (one.row().state, one.row().reason, one.row().analysis_status) == ("queued", str(GITHUB_DOWN), "failed")
    assert one.claude.asked == []


def test_while_github_is_down_what_is_known_of_the_file_holds(make_world: MakeWorld) -> None:
    one = having(make_world, "features: {auto_commenting: false}")
    one.run()
    one.later(301)
    one.accept(guid="g2")
    one.github.failing.append(GITHUB_DOWN)
    assert (one.run() or Finished("", "dead", "")).state == "done"
    assert one.github.comments == {}
    assert load_report(one.store, one.row("g2")).own_settings == (
        ".github/hls.yaml could not be read, so the last known version (c0ffee) applies: GitHub answered 502"
    )


def test_where_the_token_may_not_read_files_the_operators_settings_hold_and_why_is_kept(make_world: MakeWorld) -> None:
    one = having(make_world, "enabled: false")
    one.github.failing.append(Permanent("the token lacks contents=read"))
    assert one.run() == Finished(GUID, "done", DONE)
    assert load_report(one.store, one.row()).own_settings == (
        ".github/hls.yaml could not be read, so it is ignored: the token lacks contents=read"
    )


# --- when it is wrong ----------------------------------------------------------------------------------------------

BROKEN = "lables: {}\n"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (file(BROKEN), ".github/hls.yaml:1: lables: unknown key; did you mean labels?"),
        (FileAtRef("directory", "", None), ".github/hls.yaml: is a directory; a file is expected"),
        (FileAtRef("symlink", "abc", None), ".github/hls.yaml: is a symlink; a file is expected"),
        (FileAtRef("submodule", "abc", None), ".github/hls.yaml: is a submodule; a file is expected"),
        (FileAtRef("file", "abc", None), ".github/hls.yaml: larger than 65536 bytes; this is not a settings file"),
        (FileAtRef("file", "abc", b"\xff"), ".github/hls.yaml:1: not UTF-8; save the file as UTF-8"),
    ],
    ids=["unknown key", "directory", "symlink", "submodule", "huge", "binary"],
)
def test_a_file_that_cannot_be_used_is_told_of_on_the_thread_at_hand(
    make_world: MakeWorld, found: FileAtRef, told: str
) -> None:
    one = having(make_world, None)
    one.github.files_at[AT] = found
    bodies: list[str] = []
    one.github.meanwhile = lambda what: bodies.extend(one.github.comments.values()) if what == "write comment" else None
    assert one.run() == Finished(GUID, "done", DONE)  # by the operator's settings
    assert f"- `{told}`" in one.github.comments[1]
    assert "The README says committ." in bodies[0]  # the fake has one comment a thread: the analysis came first


def test_a_version_is_told_of_once_whatever_comes(make_world: MakeWorld) -> None:
    one = having(make_world, BROKEN)
    one.github.issues[7] = ISSUE
    one.run()
    assert "lables" in one.github.comments[1]
    for number in range(2, 5):
        one.accept(guid=f"g{number}", thread=number)
        one.later(301)
        one.run()
    assert "lables" not in one.github.comments[1]  # the fake edits the one comment it has
    one.github.files_at[AT] = file("lable: {}\n", sha="beef")
    one.later(301)
    one.accept(guid="g9", thread=9)
    one.run()
    assert "lable: unknown key" in one.github.comments[1]


def test_a_telling_whose_answer_was_lost_is_repeated_by_its_own_delivery_alone(make_world: MakeWorld) -> None:
    one = having(make_world, BROKEN)

    def lose_the_telling(what: str) -> None:
        if what == "write comment" and one.github.comments:
            one.github.lost_answers.append(GITHUB_DOWN)

    one.github.meanwhile = lose_the_telling
    assert one.run() is None
    one.github.meanwhile = lambda _what: None
    one.github.comments[1] = ""
    one.later(60)
    assert one.run() is not None
    assert "lables" in one.github.comments[1]


def test_the_last_good_version_holds_while_the_file_is_broken(make_world: MakeWorld) -> None:
    one = having(make_world, "features: {auto_labeling: false}\n")
    one.run()
    one.github.files_at[AT] = file(BROKEN, sha="bad")
    one.later(301)
    one.accept(guid="g2")
    one.run()
    assert one.github.labels == {}
    assert load_report(one.store, one.row("g2")).own_settings == (
        ".github/hls.yaml (bad) is invalid, so the last good version (c0ffee) applies, plus what this one switches "
        "off: .github/hls.yaml:1: lables: unknown key; did you mean labels?"
    )


def test_who_has_comments_switched_off_is_told_by_the_log_alone(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    one = having(make_world, f"{BROKEN}features: {{auto_commenting: false}}\n")
    with caplog.at_level(logging.WARNING):
        one.run()
    assert one.github.comments == {}
    assert [record.message for record in caplog.records] == ["the repository's own settings cannot be used"]


def test_a_dry_run_tells_nobody_and_leaves_it_to_be_told(make_world: MakeWorld) -> None:
    one = having(make_world, BROKEN, given=settings(features={**HEEDING, "dry_run": True}))
    one.run()
    assert one.github.comments == {}
    one.settings = settings(features=HEEDING)
    one.accept(guid="g2")
    one.run()
    assert "lables" in one.github.comments[1]


@pytest.mark.parametrize("name", ["issues/none", "pull_requests/analyze"], ids=["unknown", "of another event"])
def test_a_prompt_that_the_operator_does_not_have_for_the_event_voids_its_line_alone(
    make_world: MakeWorld, name: str
) -> None:
    one = having(make_world, f"features: {{auto_labeling: false}}\nprompts: {{use: {{issues.opened: {name}}}}}\n")
    assert (one.run() or Finished("", "dead", "")).state == "done"
    assert one.github.labels == {}
    assert [asked.prompt.name for asked in one.claude.asked] == ["issues/analyze"]
    told = f".github/hls.yaml:2: prompts.use.issues.opened: the operator has no prompt {name} for issues.opened; there "
    assert told in one.github.comments[1]


def test_a_prompt_that_went_away_is_not_missed_by_a_retry(make_world: MakeWorld, tmp_path: Path) -> None:
    text = "prompts: {use: {issues.opened: issues/brief}}"
    one = having(make_world, text, CLAUDE_DOWN, BUG, given=offering_a_choice())
    one.prompts = own_prompts(tmp_path)
    assert one.run() is None
    one.prompts = library()
    one.later(3600)
    assert (one.run() or Finished("", "dead", "")).state == "done"


def test_rule_15_what_the_file_says_is_harmless_where_it_is_quoted(make_world: MakeWorld) -> None:
    token = "ghp_" + "a1B2" * 9
    one = having(make_world, f'"@octocat ` fixes #1 ![](http://x.example)": 1\nenabled: "{token}"\n')
    one.run()
    told = one.github.comments[1]
    assert "lables" not in told
    assert token not in told
    lines = [line for line in told.splitlines() if line.startswith("- ")]
    assert len(lines) == 2
    assert all(line.startswith("- `") and line.endswith("`") and line.count("`") == 2 for line in lines)
