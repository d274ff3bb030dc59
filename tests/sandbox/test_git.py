"""The stand-in's git server, with the real client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from hls_handler.clients.credentials import App
from hls_handler.clients.github import connect, make_credentials
from hls_handler.clients.mirror import Mirrors
from hls_handler.handlers.reader import RepositoryFiles
from hls_handler.prompting import recorded
from hls_handler.review.second_sites import Hit
from hls_handler.sandbox.server import Sandbox
from hls_handler.settings.model import Github, Mirror
from tests.clients.review_world import NOON, REPOSITORY, github_settings
from tests.clients.test_credentials import World

BASE = {"src/pay.py": "def pay(sum):\n    return sum\n", "shop.py": "pay(1)\n"}
HEAD = {"src/pay.py": "def pay(sum, tax):\n    return sum + tax\n", "shop.py": "pay(1)\n"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        running.state.seed("pull_request", recorded.load("pull_request.opened").payload)
        yield running


@contextmanager
def open_source(
    settings: Github | App, folder: Path, commit: str, *, enabled: bool = True
) -> Iterator[RepositoryFiles]:
    mirrors = Mirrors(lambda: Mirror(directory=folder, enabled=enabled))
    credentials = settings if isinstance(settings, App) else make_credentials(settings, now=lambda: NOON)
    with closing(connect(credentials, now=lambda: NOON, mirrors=mirrors)) as github:
        yield github.reader(REPOSITORY).files_at(commit)


def test_commits_can_be_fetched_with_their_ids(sandbox: Sandbox, tmp_path: Path) -> None:
    base, head = sandbox.git.commit(REPOSITORY, BASE), sandbox.git.commit(REPOSITORY, HEAD)
    for commit, files in ((base, BASE), (head, HEAD)):
        with open_source(github_settings(sandbox.github_url, sandbox.token), tmp_path, commit) as source:
            assert source.no_mirror == ""
            assert source.texts(["shop.py", "src/pay.py"]) == files
            assert source.find_words(["pay"]) == (Hit("shop.py", 1, "pay"), Hit("src/pay.py", 1, "pay"))


def test_token_of_an_installation_gives_access_to_its_repositories(tmp_path: Path) -> None:
    with Sandbox(clock=lambda: NOON) as sandbox:
        world = World(sandbox)
        head = sandbox.git.commit(REPOSITORY, HEAD)
        with open_source(world.app, tmp_path, head) as source:
            assert source.no_mirror == ""
            assert source.texts(["shop.py"]) == {"shop.py": "pay(1)\n"}


def test_the_api_has_the_same_files(sandbox: Sandbox, tmp_path: Path) -> None:
    head = sandbox.git.commit(REPOSITORY, HEAD)
    settings = github_settings(sandbox.github_url, sandbox.token)
    with open_source(settings, tmp_path, head, enabled=False) as source:
        assert source.no_mirror == "mirror.enabled is false"
        assert source.texts(["src/pay.py", "absent.py"]) == {"src/pay.py": HEAD["src/pay.py"]}


def test_recorded_commits_and_wrong_tokens_get_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    rejected = "GitHub rejected the credential for git, or it may not read the repository"
    unknown = "GitHub does not have the commit, or does not give it to git"
    settings = github_settings(sandbox.github_url, sandbox.token)
    with open_source(settings, tmp_path, "1" * 40) as source:  # no repository yet
        assert source.no_mirror == rejected
    head = sandbox.git.commit(REPOSITORY, HEAD)
    with open_source(settings, tmp_path, "1" * 40) as source:
        assert source.no_mirror == unknown
    wrong = settings.model_copy(update={"token": SecretStr("ghp_wrongwrongwrongwrongwrong")})
    with open_source(wrong, tmp_path, head) as source:
        assert source.no_mirror == rejected
