"""The three credentials. `make run` serves if all are set, shows the demo if none is, and fails if only some are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from hls_handler.settings.environment import read_environment

CREDENTIALS = ("GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY")


def find_missing_credentials(environ: Mapping[str, str], dotenv: Path | None) -> tuple[str, ...]:
    """Names of the credentials that are not set or blank. Raises `SettingsError` if `.env` cannot be read."""
    variables = read_environment(environ, dotenv)
    return tuple(name for name in CREDENTIALS if not variables.get(name, "").strip())


def with_dummy_credentials(environ: Mapping[str, str], dotenv: Path | None) -> Mapping[str, str]:
    """The environment with a dummy value for each missing credential, for commands that do not need all of them.

    Raises `SettingsError` as `find_missing_credentials` does.
    """
    return {**environ, **{name: _dummy_value(name) for name in find_missing_credentials(environ, dotenv)}}


def find_missing(secret: SecretStr) -> str | None:
    """Return the name of the missing variable if a setting has its dummy value, else None."""
    return next((name for name in CREDENTIALS if secret.get_secret_value() == _dummy_value(name)), None)


def _dummy_value(name: str) -> str:
    return f"{name}-is-not-set"
