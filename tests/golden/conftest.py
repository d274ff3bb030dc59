"""The prompt library of the tests, which takes a second to load, and settings files for
`make eval`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hls_handler.prompting.prompt import Library
from tests.engine import world
from tests.github_fake.server import Sandbox


@pytest.fixture(scope="session")
def library() -> Library:
    return world.library()


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[[Sandbox], Path]:
    """Write a settings file whose GitHub and Claude are those of a sandbox."""
    path = tmp_path / "hls.yaml"

    def write(sandbox: Sandbox) -> Path:
        path.write_text(
            f"github: {{token: {sandbox.token}, base_url: {sandbox.github_url}, webhook_secret:"
            f" {'s' * 40}}}\nclaude: {{api_key: {sandbox.api_key}, base_url:"
            f" {sandbox.claude_url}}}\nmirror: {{directory: {tmp_path / 'mirror'}}}\nrepositories:"
            " [{name: octo/hello}]\n",
            encoding="utf-8",
        )
        return path

    return write
