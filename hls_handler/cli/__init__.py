"""The commands of `hls`. docs/cli.md has their exit codes."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from copy import copy
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from hls_handler import __version__
from hls_handler.errors import HlsError
from hls_handler.wording import reword_invalid

COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("init.command:init", "Create a GitHub App or use a token, and write the settings."),
    "serve": ("serve:serve", "Receive and process webhooks until SIGTERM or Ctrl-C."),
    "up": ("serve:up", "Run the service, or the demo if nothing is set up."),
    "process": ("process:process", "Process one event without a service."),
    "listen": ("catch_up:listen", "Run the service without a public address."),
    "catch-up": ("catch_up:catch_up", "Process webhooks that were not received."),
    "check": ("check:check", "Report every problem of settings, prompts and credentials."),
    "render": ("render:render", "Print the exact request to Claude for an event."),
    "send": ("send:send", "Sign a payload and post it as GitHub would."),
    "deliveries": (
        "deliveries:deliveries",
        "List, show, retry and discard deliveries. Works while the service runs.",
    ),
    "why": ("why:why", "Explain what HLS did on an issue or pull request."),
    "batch": ("batch:commands", "Try prompts, triage old issues and review merged pull requests."),
    "backup": ("maintenance:backup", "Copy the SQLite database to FILE."),
    "pause": ("maintenance:pause", "Stop processing, for all repositories or one."),
    "resume": ("maintenance:resume", "Resume the processing that `hls pause` stopped."),
    "forget": ("maintenance:forget", "Delete what is stored about a person."),
    "prompts list": ("prompts:list_", "List the prompts with their statistics."),
    "prompts try": ("prompt_try:try_", "Try a prompt on an event, with a real reply from Claude."),
    "config": ("config:config_commands", "Explain settings."),
    "demo": ("demo:demo", "Run the real service against a sandbox; needs no account."),
    "sandbox": ("sandbox:sandbox", "Run the stand-ins for GitHub and Claude alone."),
}
"""Name -> module and function (or group of commands), and the first sentence of its help."""

GROUPS: Mapping[str, str] = {"prompts": "List and try prompts."}
"""Name -> help of the groups whose commands are in `COMMANDS`, so that each is imported alone."""

HIDDEN = frozenset({"up"})
"""Commands that the help does not list: `make run` calls `hls up`."""


def load_command(path: str) -> TyperCommand | TyperGroup:
    name = path.rpartition(" ")[2]
    module, _, attribute = COMMANDS[path][0].partition(":")
    loaded = getattr(import_module(f"hls_handler.cli.{module}"), attribute)
    parent = typer.Typer(rich_markup_mode=None)
    if isinstance(loaded, typer.Typer):
        parent.add_typer(loaded, name=name)
    else:
        parent.command(name)(loaded)
    return get_group(parent).commands[name]  # type: ignore[return-value]


def _add_option(command: Any, option: Any) -> None:
    """Let an option of `hls` stand behind the name of the command, too."""
    for below in getattr(command, "commands", {}).values():
        _add_option(below, option)
    command.params.append(option)


class _Group(TyperGroup):
    """A group that imports a command when it is used: all of them take ten times as long as
    printing the help.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name of the command, the command, and its arguments."""
        name, command, arguments = super().resolve_command(ctx, args)
        if not name:
            return name, None, arguments
        if not isinstance(command, _Group):  # it has only a name and the first line of its help
            command = load_command(f"{self.path}{name}")
        no_color: Any = copy(next(param for param in self.params if param.name == "_no_color"))
        no_color.expose_value = False
        no_color.hidden = True
        _add_option(command, no_color)
        return name, command, arguments

    @property
    def path(self) -> str:
        """The prefix of the names of its commands in `COMMANDS`: "prompts "."""
        return f"{self.name} "


class _Commands(_Group):
    """All commands."""

    path = ""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for path, (_, first_sentence) in COMMANDS.items():
            group_name, _, name = path.rpartition(" ")
            group: TyperGroup = self
            if group_name:
                group = self._find_group(group_name)
            group.add_command(TyperCommand(name, help=first_sentence, hidden=name in HIDDEN))

    def _find_group(self, name: str) -> TyperGroup:
        group = self.commands.get(name)
        if not isinstance(group, TyperGroup):
            group = _Group(
                name=name, help=GROUPS[name], no_args_is_help=True, rich_markup_mode=None
            )
            self.add_command(group)
        return group

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as exc:
            if exc.__cause__ is not None:  # typer quotes the message of pydantic
                exc.message = reword_invalid(exc.message)
            raise
        except HlsError as exc:
            from hls_handler.cli.options import exit_with

            exit_with(exc)


app = typer.Typer(
    name="hls",
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(value: bool) -> None:
    if value:
        from hls_handler.cli.terminal import print_line
        from hls_handler.settings.shipped import find_commit

        commit = find_commit()
        print_line(f"hls {__version__} ({commit})" if commit else f"hls {__version__}")
        raise typer.Exit


def _switch_colours_off(value: bool) -> None:
    if value:
        os.environ["NO_COLOR"] = "1"  # where the log and libraries look


@app.callback()
def hls(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
    _no_color: Annotated[
        bool,
        typer.Option(
            "--no-color",
            help="Print without colours, as with NO_COLOR.",
            callback=_switch_colours_off,
        ),
    ] = False,
) -> None:
    """HLS turns GitHub events into labels and comments with the help of Claude."""
    # The command has been imported by now.
    if not gc.isenabled():
        gc.freeze()
        # two webhooks make 700 objects, after which Python would collect garbage
        gc.set_threshold(20_000, 20, 20)
        gc.enable()
    from hls_handler.cli.options import DOTENV
    from hls_handler.settings.environment import export_proxy_settings

    export_proxy_settings(os.environ, DOTENV)
