"""`hls config explain`: what holds for one repository, and what would become of an event there."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hls_handler.cli import app

SETTINGS = """\
github: {token: token-marker-0001, webhook_secret: [webhook-marker-0002, webhook-marker-0003]}
claude: {api_key: claude-marker-0004}
repositories:
  - name: "octo/*"
    events: [issues, pull_request.opened]
    prompts: {use: {issues.reopened: false}}
  - name: octo/widgets
    features: {dry_run: true}
    labels: {allow: [bug, "token-marker-0001"]}
    events: [issues.opened, issues.edited]
  - name: octo/asleep
    enabled: false
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "hls.yaml").write_text(SETTINGS)
    return tmp_path / "hls.yaml"


def explain(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["config", "explain", *arguments, "--config", str(path)])


def said(path: Path, *arguments: str) -> list[str]:
    return explain(path, *arguments).stdout.replace(f"{path.parent}/", "").splitlines()


def test_every_value_is_told_with_the_entry_that_wins(path: Path) -> None:
    assert explain(path, "octo/widgets").exit_code == 0
    assert said(path, "octo/widgets") == [
        "name = octo/widgets   hls.yaml:7 (repositories[1].name)",
        "  wins over octo/*   hls.yaml:4 (repositories[0].name): a whole name against a pattern",
        ".github/hls.yaml = not read yet; --live reads it from GitHub",
        "enabled = true   default",
        'events = ["issues.edited", "issues.opened"]   hls.yaml:10 (repositories[1].events)',
        "webhook_secret = 2 secrets   hls.yaml:1 (github.webhook_secret)",
        "expect_webhook_within_h = null   default",
        "features.signature_validation = true   default",
        "features.async_processing = true   default",
        "features.auto_labeling = true   default",
        "features.auto_commenting = true   default",
        "features.dry_run = true   hls.yaml:8 (repositories[1].features.dry_run)",
        "features.drafts = false   default",
        "features.bots = false   default",
        "features.repository_settings = true   default",
        "labels.create = true   default",
        'labels.allow = ["bug", "***"]   hls.yaml:9 (repositories[1].labels.allow)',
        "comments.language = null   default",
        "comments.tone = neutral   default",
        "comments.length = normal   default",
        "comments.post_to = {}   default",
        "findings.min_severity = low   default",
        "findings.min_confidence = 0.0   default",
        "paths.ignore = []   default",
        "prompts.use = {}   default",
    ]


def test_rule_19_no_secret_is_told(path: Path) -> None:
    assert "marker" not in explain(path, "octo/widgets", "--event", "issues.opened").output


def test_a_repository_that_is_switched_off_is_explained_as_well(path: Path) -> None:
    assert explain(path, "octo/asleep").exit_code == 0
    assert "enabled = false   hls.yaml:12 (repositories[2].enabled)" in said(path, "octo/asleep")


def test_a_repository_that_no_entry_matches_is_told_what_to_add(path: Path) -> None:
    for arguments in ((), ("--event", "issues.opened")):
        told = explain(path, "other/thing", *arguments)
        assert (told.exit_code, told.stdout) == (1, "")
        assert told.stderr == (
            f"no entry of {path}:3 (repositories) matches other/thing; add `- name: other/thing` there to work on it\n"
        )


@pytest.mark.parametrize(
    ("repository", "event", "verdict", "provided"),
    [
        (
            "octo/widgets",
            "issues.opened",
            (
                "issues/analyze   hls.yaml:10 (repositories[1].events) enables issues.opened, "
                "and prompts/issues/analyze.j2 is for it"
            ),
            "",
        ),
        (
            "octo/widgets",
            "issues.edited",
            (
                "issues/analyze   hls.yaml:10 (repositories[1].events) enables issues.edited, "
                "and prompts/issues/analyze.j2 is for it"
            ),
            ", and that title or text change",
        ),
        (
            "octo/others",
            "pull_request.review_requested",
            (
                "pull_requests/analyze   hls.yaml:5 (repositories[0].events) enables pull_request.review_requested, "
                "and prompts/pull_requests/analyze.j2 is for it"
            ),
            ", and that the review is asked of HLS",
        ),
    ],
)
def test_an_event_that_would_be_worked_on_is_told_by_which_prompt_and_line(
    path: Path, repository: str, event: str, verdict: str, provided: str
) -> None:
    assert explain(path, repository, "--event", event).exit_code == 0
    assert said(path, repository, "--event", event)[-2:] == [
        f"{event} = {verdict}",
        (
            "  provided that a person does it, on a thread that is no draft and does not ask HLS to leave it alone"
            f"{provided}"
        ),
    ]


@pytest.mark.parametrize(
    ("repository", "event", "verdict"),
    [
        (
            "octo/widgets",
            "issues.closed",
            (
                "ignored (event not enabled)   issues.closed is not among the events of "
                "hls.yaml:10 (repositories[1].events); add it there to process it"
            ),
        ),
        (
            "octo/asleep",
            "issues.opened",
            (
                "ignored (repository disabled)   octo/asleep is switched off by "
                "hls.yaml:12 (repositories[2].enabled); set it to true to process it"
            ),
        ),
        (
            "octo/others",
            "issues.reopened",
            (
                "ignored (prompt switched off)   hls.yaml:6 (repositories[0].prompts.use.issues.reopened) "
                "switches the prompt for issues.reopened off; remove that line to process it"
            ),
        ),
        (
            "octo/others",
            "issues.pinned",
            (
                "ignored (no prompt)   no prompt in prompts/ has issues.pinned in its `on:`; add it to one to process "
                "it, or add prompts.directory to hls.yaml and set it to another folder"
            ),
        ),
    ],
)
def test_an_event_that_would_be_ignored_is_told_why(path: Path, repository: str, event: str, verdict: str) -> None:
    assert explain(path, repository, "--event", event).exit_code == 1
    assert said(path, repository, "--event", event)[-1] == f"{event} = {verdict}"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("octo",), "write it as owner/repo"),
        (("octo/widgets/more",), "write it as owner/repo"),
        (("octo/*",), "write it as owner/repo"),
        (("octo/widgets", "--event", "isues.opened"), "did you mean issues.opened?"),
        (("octo/widgets", "--event", "issues.openend"), "did you mean issues.opened?"),
        (("octo/widgets", "--event", "watch"), "write watch. and one of started"),
    ],
)
def test_a_wrong_call_is_told_what_is_right(path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    told = explain(path, *arguments)
    assert (told.exit_code, told.stdout) == (2, "")
    assert complaint in told.stderr


def test_settings_that_cannot_be_used_are_named(path: Path) -> None:
    path.write_text(SETTINGS.replace("enabled", "enabeld"))
    told = explain(path, "octo/widgets")
    assert told.exit_code == 2
    assert told.stderr == (f"{path}:12: repositories[2].enabeld: unknown key; did you mean repositories[2].enabled?\n")


def test_prompts_that_cannot_be_used_matter_only_where_an_event_is_asked_about(path: Path) -> None:
    path.write_text(f"{SETTINGS}prompts: {{directory: nowhere}}\n")
    assert explain(path, "octo/widgets").exit_code == 0
    told = explain(path, "octo/widgets", "--event", "issues.opened")
    assert told.exit_code == 2
    assert told.stdout == explain(path, "octo/widgets").stdout
    assert told.stderr == f"{path}:13 (prompts.directory): there is no folder nowhere\n"


def test_folders_of_a_list_that_are_missing_are_named_each_with_its_line(path: Path) -> None:
    path.write_text(f"{SETTINGS}prompts:\n  directory:\n    - nowhere\n    - prompts\n    - neither\n")
    told = explain(path, "octo/widgets", "--event", "issues.opened")
    assert told.stderr == (
        f"{path}:15 (prompts.directory[0]): there is no folder nowhere\n"
        f"{path}:17 (prompts.directory[2]): there is no folder neither\n"
    )


def test_a_shadow_is_told_beside_the_prompt_of_an_event(path: Path) -> None:
    path.write_text(f"{SETTINGS}prompts:\n  use:\n    issues.opened: {{prompt: issues/respond, shadow: true}}\n")
    assert 'prompts.use.issues.opened = {"prompt": "issues/respond", "shadow": true}   hls.yaml:15' in "\n".join(
        said(path, "octo/widgets")
    )
    assert said(path, "octo/widgets", "--event", "issues.opened")[-3:-1] == [
        (
            "issues.opened = issues/analyze   hls.yaml:10 (repositories[1].events) enables issues.opened, "
            "and prompts/issues/analyze.j2 is for it"
        ),
        "  beside it, in its shadow: issues/respond   hls.yaml:15 (prompts.use.issues.opened)",
    ]
