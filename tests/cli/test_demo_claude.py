"""The real Claude in the demo: whose key is used, what the story costs at most, and when it does not begin."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr
from typer.testing import CliRunner

from hls_handler.cli import app
from hls_handler.cli.demo_claude import Bill, bill, find_real_claude, require_answer, require_budget, section
from hls_handler.errors import DependencyDown, SettingsError
from hls_handler.sandbox.samples import load_checked
from hls_handler.sandbox.server import Sandbox
from hls_handler.settings.model import Claude
from tests.settings.files import SMALLEST, load

KEY = "claude-key-marker-3"
REAL = Claude(api_key=SecretStr(KEY))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user is: without credentials and settings."""
    monkeypatch.chdir(tmp_path)
    for variable in ("HLS_CONFIG", "GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_a_key_is_enough_where_there_are_no_settings(folder: Path) -> None:
    (folder / ".env").write_text(f"ANTHROPIC_API_KEY={KEY}\n")
    assert find_real_claude(None) == REAL


def test_the_claude_section_of_the_settings_holds_and_no_other_credential_is_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    (folder / "config").mkdir()
    (folder / "config" / "settings.yaml").write_text(
        SMALLEST.replace('_KEY}"\n', '_KEY}"\n  model: claude-sonnet-5-5\n  base_url: https://claude.example.com\n')
    )
    assert find_real_claude(None) == Claude(
        api_key=SecretStr(KEY), model="claude-sonnet-5-5", base_url="https://claude.example.com"
    )


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            None,
            "ANTHROPIC_API_KEY is not set; set it in the environment or in .env, or leave --claude real away\n",
        ),
        (
            SMALLEST,
            (
                "config/settings.yaml:5 (claude.api_key): ANTHROPIC_API_KEY is not set; set it in the environment or "
                "in .env, or leave --claude real away\n"
            ),
        ),
    ],
    ids=["no settings", "settings"],
)
def test_without_a_key_the_demo_says_where_it_belongs(folder: Path, settings: str | None, complaint: str) -> None:
    if settings is not None:
        (folder / "config").mkdir()
        (folder / "config" / "settings.yaml").write_text(settings)
    told = CliRunner().invoke(app, ["demo", "--once", "--claude", "real"])
    assert (told.exit_code, told.stdout, told.stderr) == (2, "", complaint)
    assert not (folder / "data").exists()


def test_settings_that_were_named_and_are_not_there_are_not_passed_over(folder: Path) -> None:
    (folder / ".env").write_text(f"ANTHROPIC_API_KEY={KEY}\n")
    told = CliRunner().invoke(app, ["demo", "--claude", "real", "--config", "mine.yaml"])
    assert (told.exit_code, told.stderr) == (
        2,
        "mine.yaml: there is no such file; name another with --config or HLS_CONFIG\n",
    )


def test_rule_19_the_key_stands_in_no_file() -> None:
    keys = yaml.safe_load(section(REAL))
    assert keys["api_key"] == "${ANTHROPIC_API_KEY:-only-the-service-of-the-demo-has-it}"
    assert (keys["model"], keys["calls_per_hour"]) == ("claude-haiku-5-5", 200)
    assert KEY not in section(REAL)


def test_the_bill_counts_what_may_follow_a_question_and_prices_every_model(tmp_path: Path) -> None:
    library = load_checked(load(tmp_path, SMALLEST))
    cheap, dear = bill(REAL, library), bill(REAL.model_copy(update={"model": "claude-opus-5-5"}), library)
    assert (cheap.questions, dear.questions) == (17, 17)
    assert cheap.at_most_usd is not None
    assert dear.at_most_usd is not None
    assert 0.01 < cheap.at_most_usd < 0.1 < dear.at_most_usd < 10
    unknown = bill(REAL.model_copy(update={"model": "llama-of-my-own"}), library)
    assert unknown == Bill(17, None)
    assert unknown.sentence == "up to 17 questions; the price of a model that it asks is not known here"


def test_a_story_that_would_wait_for_the_budget_does_not_begin() -> None:
    claude = REAL.model_copy(update={"calls_per_hour": 20})
    require_budget(claude, Bill(11, 0.05), asked=9)
    with pytest.raises(SettingsError) as raised:
        require_budget(claude, Bill(11, 0.05), asked=10)
    (problem,) = raised.value.problems
    assert problem == (
        "it asks up to 11 questions, 10 were asked within the hour, and claude.calls_per_hour allows 20; "
        "wait, or raise it"
    )


def test_a_key_that_is_refused_is_told_before_anything_begins() -> None:
    with Sandbox() as sandbox:
        there = {"api_key": SecretStr(sandbox.api_key), "base_url": sandbox.claude_url}
        require_answer(REAL.model_copy(update=there))
        require_answer(REAL.model_copy(update=there | {"model": "a-model-of-another-provider"}))
        with pytest.raises(DependencyDown, match="Claude answered 401"):
            require_answer(REAL.model_copy(update={"base_url": sandbox.claude_url}))
