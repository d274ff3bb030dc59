"""The commands of `hls`.

Exit codes of all commands: 0 success; 1 the command ran and found a problem, or failed; 2 usage error or unusable
settings.
"""

from __future__ import annotations

import typer

from hls_handler.cli.check import check
from hls_handler.cli.config import config_commands, settings_commands
from hls_handler.cli.deliveries import deliveries, why
from hls_handler.cli.demo import demo
from hls_handler.cli.init import init
from hls_handler.cli.maintenance import backup, pause, resume
from hls_handler.cli.prompts import prompts
from hls_handler.cli.render import render
from hls_handler.cli.sandbox import sandbox
from hls_handler.cli.send import send
from hls_handler.cli.serve import serve, up

app = typer.Typer(
    name="hls",
    help="HLS turns GitHub events into labels and comments with the help of Claude.\n\n"
    "Exit codes: 0 success; 1 the command ran and found a problem, or failed; 2 usage error or unusable settings.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(init)
app.command()(serve)
app.command()(up)
app.command()(check)
app.command()(render)
app.command()(send)
app.add_typer(deliveries, name="deliveries")
app.command()(why)
app.command()(backup)
app.command()(pause)
app.command()(resume)
app.add_typer(prompts, name="prompts")
app.add_typer(config_commands, name="config")
app.add_typer(settings_commands, name="settings")
app.command()(demo)
app.command()(sandbox)
