"""`hls settings schema`: the JSON Schema of the settings file, for editors."""

from __future__ import annotations

import typer

from hls_handler.cli.say import say_lines
from hls_handler.settings.schema import schema_text

settings_commands = typer.Typer(help="Ask what a settings file may hold.", no_args_is_help=True, rich_markup_mode=None)


@settings_commands.command()
def schema() -> None:
    """Print the JSON Schema of the settings file.

    Editors that know it complete keys, show what they mean, and mark what is wrong while it is written. The shipped
    file names config/settings.schema.json in its first line, which is what this prints. No settings are read. It
    knows types, bounds and names; `hls check` knows all that is wrong.

    Exit codes: 0 printed; 2 called wrongly.
    """
    say_lines(schema_text())
