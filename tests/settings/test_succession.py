"""Reload of the settings of a running service."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.errors import SettingsError
from hls_handler.settings.reload import plan_reload
from tests.settings.files import SECRET, SMALLEST, TOKEN, VARIABLES, load


def test_changes_are_listed_by_key_without_values(tmp_path: Path) -> None:
    before = load(tmp_path, SMALLEST)
    after = load(
        tmp_path,
        SMALLEST + "    enabled: false\nfeatures: {drafts: true}\nlogging: {level: DEBUG}\n",
        {**VARIABLES, "GITHUB_TOKEN": TOKEN * 2, "GITHUB_WEBHOOK_SECRET": SECRET * 2},
    )
    step = plan_reload(before, after)
    assert step.settings == after
    assert step.changed == (
        "github.token",
        "github.webhook_secret",
        "repositories",
        "features.drafts",
        "logging.level",
    )
    assert step.waiting == ()


def test_a_comment_in_the_file_changes_only_the_lines(tmp_path: Path) -> None:
    step = plan_reload(load(tmp_path, SMALLEST), load(tmp_path, "# Ours.\n" + SMALLEST))
    assert (step.changed, step.waiting) == ((), ())
    assert step.settings.sources.find_line("github.token") == 3


@pytest.mark.parametrize(
    "text",
    [
        "server: {host: 127.0.0.2}",
        "server: {port: 9000}",
        "storage: {url: sqlite:///elsewhere.db}",
        "limits: {concurrency: 9}",
    ],
)
def test_a_key_that_needs_a_restart_keeps_its_value_and_is_listed_with_its_line(tmp_path: Path, text: str) -> None:
    before = load(tmp_path, SMALLEST)
    step = plan_reload(before, load(tmp_path, f"{SMALLEST}{text}\n"))
    section, _, rest = text.partition(": {")
    key = f"{section}.{rest.partition(':')[0]}"
    assert step.waiting == (f"{tmp_path}/settings.yaml:8 ({key})",)
    assert step.changed == ()
    assert getattr(step.settings, section) == getattr(before, section)


def test_other_keys_of_such_a_section_are_applied(tmp_path: Path) -> None:
    step = plan_reload(
        load(tmp_path, SMALLEST), load(tmp_path, SMALLEST + "limits: {concurrency: 9, max_attempts: 2}\n")
    )
    assert (step.settings.limits.concurrency, step.settings.limits.max_attempts) == (4, 2)
    assert step.changed == ("limits.max_attempts",)


def test_rule_1_signatures_cannot_be_switched_off_with_a_host_that_needs_a_restart(tmp_path: Path) -> None:
    before = load(tmp_path, SMALLEST + "server: {host: 0.0.0.0}\n")
    after = load(tmp_path, SMALLEST + "server: {host: 127.0.0.1}\nfeatures: {signature_validation: false}\n")
    with pytest.raises(SettingsError) as raised:
        plan_reload(before, after)
    (problem,) = raised.value.problems
    assert problem == (
        f"{tmp_path}/settings.yaml:9 (features.signature_validation): false is allowed on a loopback host only, and "
        "the running service listens on 0.0.0.0 until it is restarted"
    )
