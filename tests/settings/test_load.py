"""Loading of settings files: valid files, and errors that list all problems at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hls_handler.errors import SettingsError
from hls_handler.settings.load import load_settings
from hls_handler.settings.model import webhook_secrets
from hls_handler.settings.reference import Reference
from tests.settings.files import API_KEY, SECRET, SMALLEST, TOKEN, VARIABLES, load, problems

USERS_FILE = """\
server:
  host: "0.0.0.0"
  port: 8000
  webhook_path: "/webhook"
github:
  token: "${GITHUB_TOKEN}"
  webhook_secret: "${GITHUB_WEBHOOK_SECRET}"
claude:
  api_key: "${ANTHROPIC_API_KEY}"
  model: "claude-3-5-sonnet-20241022"
  max_tokens: 4000
repositories:
  - name: "owner/repo"
    enabled: true
    events:
      - "issues"
      - "pull_request"
      - "pull_request_review"
features:
  signature_validation: true
  async_processing: true
logging:
  level: "INFO"
  format: "json"
"""


def test_a_users_file_loads_unchanged(tmp_path: Path) -> None:
    settings = load(tmp_path, USERS_FILE)
    assert settings.server.host == "0.0.0.0"
    assert settings.github.token.get_secret_value() == TOKEN
    assert settings.claude.max_tokens == 4000
    assert settings.repositories[0].events == ("issues", "pull_request", "pull_request_review")
    assert settings.limits.concurrency == 4
    retired, open_to_all = settings.warnings
    assert retired == (
        f"{tmp_path}/settings.yaml:10 (claude.model): claude-3-5-sonnet-20241022 was retired on 2025-10-28; "
        "claude-sonnet-5-5 is used in its place"
    )
    assert open_to_all == (
        f"{tmp_path}/settings.yaml:2 (server.host): anyone who reaches 0.0.0.0 can read /stats and /health; "
        "set server.api_key to require a key"
    )


def test_a_retired_model_is_replaced_by_the_current_one_of_its_line(tmp_path: Path) -> None:
    assert load(tmp_path, USERS_FILE).claude.model == "claude-sonnet-5-5"


def test_the_shipped_file_loads_as_it_is_without_a_warning() -> None:
    settings = load_settings(Path("config/settings.yaml"), VARIABLES, dotenv=None)
    assert settings.warnings == ()
    assert settings.repositories[0].name == "*/*"


def shipped_with_every_key() -> str:
    text = Path("config/settings.yaml").read_text(encoding="utf-8")
    return re.sub(r"^( +)# (?=[a-z_]+: )", r"\1", text, flags=re.MULTILINE)


def test_the_shipped_file_shows_every_key(tmp_path: Path) -> None:
    variables = VARIABLES | {"HLS_API_KEY": SECRET, "OTHER_WEBHOOK_SECRET": SECRET}
    shown = load(tmp_path, shipped_with_every_key(), variables).sources.lines
    keys = {key.path.replace("[]", "[0]") for key in Reference().keys}
    assert keys - set(shown) == set()


def test_the_shipped_file_shows_the_defaults(tmp_path: Path) -> None:
    shown = "\n".join(
        line
        for line in shipped_with_every_key().splitlines()
        if "HLS_API_KEY" not in line and "OTHER_WEBHOOK_SECRET" not in line and "temperature" not in line
        if not line.strip().startswith(("language:", "expect_webhook_within_h:"))
    )
    everything = load(tmp_path, shown).model_dump(exclude={"repositories"})
    shipped = load_settings(Path("config/settings.yaml"), VARIABLES, dotenv=None)
    assert everything == shipped.model_dump(exclude={"repositories"})


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
server:
  prot: 80
github:
  token: "${GITHUB_TOKEM}"
  webhook_secret: "too short"
limits:
  concurrency: many
repositories:
  - name: owner/repo
    events: [issues.openend]
prompts:
  directory: nowhere/prompts
"""
    assert problems(tmp_path, text) == [
        "settings.yaml: claude: is missing; expected a section with api_key",
        "settings.yaml:2: server.prot: unknown key; did you mean server.port?",
        "settings.yaml:4: github.token: the variable GITHUB_TOKEM is not set; set it in the environment or in .env",
        "settings.yaml:5: github.webhook_secret: is shorter than 16 bytes; generate one with: openssl rand -hex 32",
        'settings.yaml:7: limits.concurrency: found "many", expected a whole number from 1 to 200',
        (
            'settings.yaml:10: repositories[0].events[0]: the event "issues" has no action "openend"; did you mean '
            "issues.opened?"
        ),
        "settings.yaml:12: prompts.directory: there is no folder nowhere/prompts",
    ]


def test_settings_load_if_only_a_prompt_folder_is_missing(tmp_path: Path) -> None:
    """Commands that need no prompts still work; the others report the folder."""
    assert load(tmp_path, SMALLEST + "prompts: {directory: nowhere}").prompts.directory == Path("nowhere")


def test_an_unreadable_prompt_folder_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    name = "n" * 300
    assert problems(tmp_path, f"{SMALLEST}servr: 1\nprompts: {{directory: {name}}}") == [
        "settings.yaml:8: servr: unknown key; did you mean server?",
        f"settings.yaml:9: prompts.directory: there is no folder {name}",
    ]


def test_every_missing_folder_of_a_list_is_reported_with_its_line(tmp_path: Path) -> None:
    text = f"{SMALLEST}prompts:\n  directory:\n    - none\n    - {tmp_path}\n    - neither\nservr: 1\n"
    assert problems(tmp_path, text) == [
        "settings.yaml:10: prompts.directory[0]: there is no folder none",
        "settings.yaml:12: prompts.directory[2]: there is no folder neither",
        "settings.yaml:13: servr: unknown key; did you mean server?",
    ]


@pytest.mark.parametrize(
    ("written", "folders"),
    [
        ("own", {"prompts.directory": Path("own")}),
        ("[own, prompts]", {"prompts.directory[0]": Path("own"), "prompts.directory[1]": Path("prompts")}),
    ],
)
def test_prompt_folders_are_mapped_by_their_keys(tmp_path: Path, written: str, folders: dict[str, Path]) -> None:
    assert load(tmp_path, f"{SMALLEST}prompts: {{directory: {written}}}").prompts.folders == folders


def test_every_key_has_its_line(tmp_path: Path) -> None:
    sources = load(tmp_path, USERS_FILE).sources
    assert sources.lines["repositories[0].events[2]"] == 18
    assert sources.where("repositories[0].events") == f"{tmp_path}/settings.yaml:15 (repositories[0].events)"
    assert sources.where("repositories[0].features.drafts").endswith(
        "settings.yaml:13 (repositories[0].features.drafts)"
    )
    assert sources.where("limits.lease_s") == f"{tmp_path}/settings.yaml (limits.lease_s)"


def test_a_section_whose_keys_are_all_commented_out_has_its_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, SMALLEST + "server:\n  # port: 9000\n").server.port == 8000


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "- a\n- list\n", "just text\n"])
def test_the_message_about_a_file_without_sections_names_the_expected_ones(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text) == [
        "settings.yaml: expected sections such as github:, claude: and repositories:; see README.md"
    ]


def test_values_of_variables_are_converted_to_the_type_of_the_key(tmp_path: Path) -> None:
    text = SMALLEST + 'server: {port: "${PORT}"}\nfeatures: {dry_run: "${DRY}"}\nlimits: {lease_s: "${LEASE:-7.5}"}\n'
    settings = load(tmp_path, text, VARIABLES | {"PORT": "8123", "DRY": "true"})
    assert (settings.server.port, settings.features.dry_run, settings.limits.lease_s) == (8123, True, 7.5)


def test_a_variable_that_looks_like_a_number_stays_text_if_the_key_is_text(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST, VARIABLES | {"GITHUB_WEBHOOK_SECRET": "1234567890123456"})
    assert webhook_secrets(settings.github.webhook_secret) == (b"1234567890123456",)


def test_the_value_of_a_variable_is_not_expanded_again(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALLEST + 'prompts: {directory: "${DIR}"}\n', VARIABLES | {"DIR": "$HOME/$(id)"})
    assert str(settings.prompts.directory) == "$HOME/$(id)"


def test_a_dotenv_file_is_read_and_the_environment_takes_precedence(tmp_path: Path) -> None:
    path, dotenv = tmp_path / "settings.yaml", tmp_path / ".env"
    path.write_text(SMALLEST, encoding="utf-8")
    dotenv.write_text(
        f"GITHUB_TOKEN=from-the-file\nexport ANTHROPIC_API_KEY='{API_KEY}'\nGITHUB_WEBHOOK_SECRET={SECRET} # new\n",
        encoding="utf-8",
    )
    settings = load_settings(path, {"GITHUB_TOKEN": "from-the-environment"}, dotenv=dotenv)
    assert settings.github.token.get_secret_value() == "from-the-environment"
    assert settings.claude.api_key.get_secret_value() == API_KEY
    assert webhook_secrets(settings.github.webhook_secret) == (SECRET.encode(),)


def test_a_broken_dotenv_line_is_reported_by_number_only(tmp_path: Path) -> None:
    path, dotenv = tmp_path / "settings.yaml", tmp_path / ".env"
    path.write_text(SMALLEST, encoding="utf-8")
    dotenv.write_text(f"A=1\n'{SECRET}\nB=2\n", encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        load_settings(path, VARIABLES, dotenv=dotenv)
    assert raised.value.problems == (f"{dotenv}:2: invalid line; expected NAME=value",)


def test_a_dotenv_file_that_is_not_text_is_reported(tmp_path: Path) -> None:
    path, dotenv = tmp_path / "settings.yaml", tmp_path / ".env"
    path.write_text(SMALLEST, encoding="utf-8")
    dotenv.write_bytes(b"A=\xff\xfe")
    with pytest.raises(SettingsError, match=r"not UTF-8"):
        load_settings(path, VARIABLES, dotenv=dotenv)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent.yaml", "there is no such file; name another with --config or HLS_CONFIG"),
        ("", "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path / name, VARIABLES, dotenv=None)
    assert raised.value.problems == (f"{tmp_path / name}: {sentence}",)


def test_temperature_is_accepted_and_reported_as_without_effect(tmp_path: Path) -> None:
    text = SMALLEST.replace("claude:\n", "claude:\n  temperature: 0.3\n")
    assert [warning.partition(": ")[2] for warning in load(tmp_path, text).warnings] == [
        "has no effect, models accept no temperature; remove the key"
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.1"])
def test_open_statistics_on_a_loopback_host_need_no_warning(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, SMALLEST + f"server: {{host: '{host}'}}\n").warnings == ()


def test_open_statistics_elsewhere_are_warned_about_until_a_key_is_set(tmp_path: Path) -> None:
    assert len(load(tmp_path, SMALLEST + "server: {host: 10.0.0.7}\n").warnings) == 1
    assert load(tmp_path, SMALLEST + "server: {host: 10.0.0.7, api_key: 0123456789abcdef-key}\n").warnings == ()
