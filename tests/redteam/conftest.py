"""The prompt library of these tests: the shipped prompts, and one for each event without a
handler.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import SecretStr

from hls_handler.engine.library import load_checked
from hls_handler.prompting.prompt import Library
from hls_handler.settings import shipped
from hls_handler.settings.model import GithubSettings, Prompts, Settings
from hls_handler.settings.providers import ClaudeSettings
from hls_handler.settings.sections import RepositoryEntry

GENERIC = ("push", "deployment_status")
PROMPT = """\
---
description: What happened
on: [{event}]
reply: generic_analysis
---
{{% extends "generic.j2" %}}
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = Path(shutil.copytree(shipped.PROMPTS, tmp_path_factory.mktemp("red") / "prompts"))
    for event in GENERIC:
        (folder / event).mkdir()
        (folder / event / "tell.j2").write_text(PROMPT.format(event=event))
    secret = SecretStr("s" * 40)
    return load_checked(
        Settings(
            github=GithubSettings(token=secret, webhook_secret=secret),
            claude=ClaudeSettings(api_key=secret),
            repositories=(RepositoryEntry(name="Codertocat/*"),),
            prompts=Prompts(directory=folder),
        )
    )
