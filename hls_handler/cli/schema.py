"""`hls settings schema`: print the JSON Schema of the settings file or of .github/hls.yaml, for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from hls_handler.cli.say import print_lines
from hls_handler.settings.schema import repository_schema_text, schema_text

settings_commands = typer.Typer(
    help="Describe the format of the settings file.", no_args_is_help=True, rich_markup_mode=None
)


@settings_commands.command()
def schema(
    repository: Annotated[
        bool, typer.Option("--repository", help="Print the schema of a repository's .github/hls.yaml instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of the settings file.

    Editors use it to complete keys, show their meaning and mark errors. The output is config/settings.schema.json, to
    which the first line of the shipped settings file refers. No settings are read. The schema covers names, types and
    bounds; `hls check` finds all other errors. With --repository, the output is config/repository.schema.json, for the
    file in a repository; `hls config check-repository` finds all other errors.

    Exit codes: 0 printed; 2 usage error.
    """
    print_lines(repository_schema_text() if repository else schema_text())
