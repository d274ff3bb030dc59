"""The three credentials: with all of them `make run` serves, with none it shows the demo, with some it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hls_handler.settings.environment import read_environment

CREDENTIALS = ("GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY")


def missing_credentials(environ: Mapping[str, str], dotenv: Path | None) -> tuple[str, ...]:
    """Which of the three are not set, or set to nothing. Raises `SettingsError` where `.env` cannot be read."""
    variables = read_environment(environ, dotenv)
    return tuple(name for name in CREDENTIALS if not variables.get(name, "").strip())
