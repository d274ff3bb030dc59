"""`hls up`, what `make run` calls: the service if there are credentials, the demo if there are none."""

from __future__ import annotations

import os

import typer

from hls_handler.cli.demo import run_demo
from hls_handler.cli.options import DOTENV, Config, config_path, refuse
from hls_handler.cli.say import say
from hls_handler.cli.serve import run_service
from hls_handler.errors import SettingsError
from hls_handler.settings.credentials import CREDENTIALS, missing_credentials


def up(config: Config = None) -> None:
    """Serve, or run the demo while no credentials are set.

    The credentials are GITHUB_TOKEN, GITHUB_WEBHOOK_SECRET and ANTHROPIC_API_KEY, from the environment or from .env.
    With all three it is `hls serve`, with none `hls demo`; with only some it refuses.

    Exit codes: 0 ended as it was told to; 1 something in the demo did not go as it should; 2 a credential is missing,
    or the service or the demo could not start.
    """
    try:
        missing = missing_credentials(os.environ, DOTENV)
    except SettingsError as exc:
        refuse(exc.problems)
    if len(missing) == len(CREDENTIALS):
        say(f"None of {', '.join(CREDENTIALS)} is set: running the demo against a built-in sandbox.")
        raise typer.Exit(run_demo(once=False, fresh=False))
    if missing:
        refuse([f"{name} is not set: set it in the environment or in .env (see README.md)" for name in missing])
    raise typer.Exit(run_service(config_path(config)))
