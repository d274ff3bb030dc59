"""The command `hls init` and its options."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hls_handler.cli.init.files import DEFAULT_CLAUDE, DEFAULT_GITHUB, STANDARD_INPUT
from hls_handler.cli.init.session import Session, Terminal, open_browser
from hls_handler.cli.init.setup import run
from hls_handler.cli.options import abort, print_line
from hls_handler.errors import HlsError, SettingsError, with_remedy

INTERRUPTED = 130


def init(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="PATH", help="Default: $HLS_CONFIG, else config/settings.yaml."),
    ] = None,
    app: Annotated[bool, typer.Option("--app", help="Create a GitHub App (recommended).")] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the App, unique on GitHub.")
    ] = None,
    organization: Annotated[
        str | None,
        typer.Option("--organization", metavar="LOGIN", help="Organisation that owns the App. Default: you."),
    ] = None,
    webhook_url: Annotated[
        str | None,
        typer.Option("--webhook-url", metavar="URL|none", help="Public address that GitHub sends events to."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="Use the GitHub token in this file instead; - reads stdin."),
    ] = None,
    repository: Annotated[
        list[str] | None,
        typer.Option("--repository", "-r", metavar="OWNER/REPO", help="Process this repository; repeatable."),
    ] = None,
    claude_key_file: Annotated[
        Path | None, typer.Option("--claude-key-file", metavar="FILE", help="File with the key of the Claude API.")
    ] = None,
    github_url: Annotated[
        str, typer.Option("--github-url", metavar="URL", help="GitHub's API. GitHub Enterprise: https://HOST/api/v3.")
    ] = DEFAULT_GITHUB,
    claude_url: Annotated[str, typer.Option("--claude-url", metavar="URL", help="Claude's API.")] = DEFAULT_CLAUDE,
    port: Annotated[
        int, typer.Option(metavar="PORT", help="Port of the page on this machine; 0: a free one.", min=0, max=65535)
    ] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print addresses to open.")] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait until the App is installed on repositories.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Confirm everything, also that different present values are replaced.")
    ] = False,
) -> None:
    """Create a GitHub App or use a token, and write the settings.

    Asks for everything that no option gives. Without a terminal, a missing option is an error. GITHUB_TOKEN and
    ANTHROPIC_API_KEY are also read from the environment and from .env. Secrets are stored in .env and
    config/github-app.pem, which only you can read; the settings refer to them. Nothing is replaced without a question.
    After an interruption, start it again: it continues, and creates no second App.

    Asks Claude one question. With a token, also creates the webhooks, if the token may. At last, lets GitHub ping the
    webhook.

    Exit codes: 0 everything is written; 1 GitHub or Claude rejected something or failed; 2 usage error, or a file that
    cannot be used or was not replaced; 130 Ctrl-C.
    """
    reads_secret = STANDARD_INPUT in (token_file, claude_key_file)
    terminal = Terminal(sys.stdin if sys.stdin.isatty() and not reads_secret else None)
    try:
        session = Session(
            os.environ,
            terminal,
            config=config,
            app=app,
            name=name,
            organization=organization,
            webhook_url=webhook_url,
            token_file=token_file,
            repositories=tuple(repository or ()),
            claude_key_file=claude_key_file,
            github_url=github_url,
            claude_url=claude_url,
            port=port,
            wait=not no_wait,
            yes=yes,
            open_browser=(lambda _url: False) if no_browser else open_browser,
        )
        run(session)
    except SettingsError as exc:
        abort(*exc.problems)
    except HlsError as exc:
        print_line(with_remedy(exc), err=True)
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, typer.Abort):
        print_line(
            "interrupted; what is stored stays, and `hls init` with the same options continues from there", err=True
        )
        raise typer.Exit(INTERRUPTED) from None
