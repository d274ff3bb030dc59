"""`hls up`, which `make run` calls: run the service if credentials are set, else the demo."""

from __future__ import annotations

import os

import typer

from hls_handler.cli.demo import run_demo
from hls_handler.cli.options import DOTENV, Config, abort, config_path
from hls_handler.cli.say import print_line
from hls_handler.cli.serve import run_service
from hls_handler.errors import SettingsError
from hls_handler.settings.credentials import CREDENTIALS, find_missing_credentials


def up(config: Config = None) -> None:
    """Run the service, or the demo if no credentials are set.

    The credentials are GITHUB_TOKEN, GITHUB_WEBHOOK_SECRET and ANTHROPIC_API_KEY, from the environment or from .env.
    With all three, this is `hls serve`; with none, `hls demo`; with only some, an error.

    Exit codes: 0 stopped by a signal; 1 at least one event of the demo failed, or the database is currently unusable;
    2 a credential is missing, or the service or the demo could not start.
    """
    try:
        missing = find_missing_credentials(os.environ, DOTENV)
    except SettingsError as exc:
        abort(exc.problems)
    if len(missing) == len(CREDENTIALS):
        print_line(f"None of {', '.join(CREDENTIALS)} is set: running the demo against a built-in sandbox.")
        raise typer.Exit(run_demo(once=False, fresh=False))
    if missing:
        abort([f"{name} is not set: set it in the environment or in .env (see README.md)" for name in missing])
    raise typer.Exit(run_service(config_path(config)))
