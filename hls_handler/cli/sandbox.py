"""`hls sandbox`: the stand-ins for GitHub and Claude alone, to try other commands against."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from hls_handler.cli.options import fail, find_hls_command
from hls_handler.cli.terminal import print_line
from hls_handler.prompting import recorded


def sandbox(
    port: Annotated[
        int,
        typer.Option(metavar="PORT", help="Port on this machine; 0: a free one.", min=0, max=65535),
    ] = 9000,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File that keeps the objects. Default: memory only.",
            resolve_path=True,
        ),
    ] = None,
) -> None:
    """Run the stand-ins for GitHub and Claude alone.

    They begin with the issues and pull requests of the demo, as they were opened, and run until
    Ctrl-C.
    """
    from hls_sandbox.server import Sandbox, SandboxDown  # `hls serve` does not need it

    try:
        with Sandbox(state_path=state, port=port) as running:
            for payload in map(recorded.load, recorded.DERIVED):
                if payload.action != "opened":  # an event that changes what was opened
                    continue
                running.state.seed(payload.event, payload.payload)
                name = payload.payload["repository"]["full_name"]
                # the account of the token may create webhooks
                running.state.set_permission(name, running.state.me.login, "admin")
            hls = find_hls_command()
            print_line(
                f"Pages:  {running.page_url}   (stand-ins on this machine; Claude's replies are"
                " canned)"
            )
            print_line(f"GitHub: {running.github_url}   token {running.token}")
            print_line(f"Claude: {running.claude_url}   key {running.api_key}")
            print_line(
                f"Try:    {hls} init --github-url {running.github_url} --claude-url"
                f" {running.claude_url}"
            )
            event = f"{running.page_url}_sandbox/send/demo/bug"
            curl = "curl -X POST -H 'Content-Type: application/json'"
            print_line(f"Event:  {curl} {event}   (other names: {hls} send --list)")
            threading.Event().wait()
    except SandboxDown as exc:
        fail(f"{exc}; choose another with --port")
