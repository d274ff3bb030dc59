"""`hls settings schema`: the JSON Schema of the settings file, or of a repository's own, for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from hls_handler.cli.say import say_lines
from hls_handler.settings.schema import repository_schema_text, schema_text

settings_commands = typer.Typer(help="Ask what a settings file may hold.", no_args_is_help=True, rich_markup_mode=None)


@settings_commands.command()
def schema(
    repository: Annotated[
        bool, typer.Option("--repository", help="That of .github/hls.yaml, which a repository has of its own.")
    ] = False,
) -> None:
    """Print the JSON Schema of the settings file.

    Editors that know it complete keys, show what they mean, and mark what is wrong while it is written. The shipped
    file names config/settings.schema.json in its first line, which is what this prints. No settings are read. It
    knows types, bounds and names; `hls check` knows all that is wrong. With --repository it is the schema of the
    file in a repository, config/repository.schema.json, and `hls config check-repository` knows the rest.

    Exit codes: 0 printed; 2 called wrongly.
    """
    say_lines(repository_schema_text() if repository else schema_text())
