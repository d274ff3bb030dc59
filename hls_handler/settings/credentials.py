"""The three credentials: with all of them `make run` serves, with none it shows the demo, with some it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from hls_handler.settings.environment import read_environment

CREDENTIALS = ("GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY")


def missing_credentials(environ: Mapping[str, str], dotenv: Path | None) -> tuple[str, ...]:
    """Which of the three are not set, or set to nothing. Raises `SettingsError` where `.env` cannot be read."""
    variables = read_environment(environ, dotenv)
    return tuple(name for name in CREDENTIALS if not variables.get(name, "").strip())


def with_stand_ins(environ: Mapping[str, str], dotenv: Path | None) -> Mapping[str, str]:
    """The environment with a stand-in for each credential that is missing, for commands that can do without some.

    Raises `SettingsError` as `missing_credentials` does.
    """
    return {**environ, **{name: _stand_in(name) for name in missing_credentials(environ, dotenv)}}


def find_missing(secret: SecretStr) -> str | None:
    """The variable that a value of the settings should have come from, where it is a stand-in."""
    return next((name for name in CREDENTIALS if secret.get_secret_value() == _stand_in(name)), None)


def _stand_in(name: str) -> str:
    return f"{name}-is-not-set"
