"""`hls init` with a token: check it with GitHub, and ask for the repositories."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from urllib.parse import urlsplit

from pydantic import SecretStr

from hls_handler.cli.init_dialogue import Dialogue
from hls_handler.cli.options import print_line
from hls_handler.clients.github import connect_read_only
from hls_handler.errors import SettingsError
from hls_handler.events import REPOSITORY_NAME
from hls_handler.settings.model import Github

TOKEN = "GITHUB_TOKEN"  # noqa: S105 (the name of a variable)
KINDS_OF_TOKENS = """\
GitHub does not let an invited collaborator create a fine-grained token for a personal repository. A token works for
  - your own account, or a member of the organisation: a fine-grained token for the repositories, with Issues and Pull
    requests (read and write), Actions and Contents (read);
  - a separate bot account that is a collaborator: a classic token with the scope repo."""


def check_token(
    base_url: str, token: str, repositories: tuple[str, ...], dialogue: Dialogue, *, now: Callable[[], datetime]
) -> tuple[str, ...]:
    """Check the token, print what it lacks, and return the repositories, which are asked for if none is given.

    Raises `SettingsError`, or an error of `clients/` if GitHub rejects the token or fails.
    """
    with closing(connect_read_only(_settings(base_url, token), now=now)) as github:
        account = github.fetch_bot_account()
        print_line(f"GitHub: the token belongs to {account.login} ({account.type})")
        names = repositories or dialogue.ask_valid(
            "Repositories, separated by commas, such as owner/repo", None, parse_repositories
        )
        for name in names:
            if "*" not in name:
                for sentence in github.find_missing_permissions(name):
                    print_line(f"  {sentence}")
    return names


def _settings(base_url: str, token: str) -> Github:
    return Github(token=SecretStr(token), webhook_secret=SecretStr(secrets.token_hex()), base_url=base_url)


def parse_repositories(text: str) -> tuple[str, ...]:
    """Return ("owner/repo", "owner/*") for names separated by commas or spaces. Raises `SettingsError`."""
    return check_repositories(tuple(text.replace(",", " ").split()))


def check_repositories(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names without duplicates; a URL is shortened to owner/repo. Raises `SettingsError`."""
    found = tuple(_shorten(name) if "://" in name else name for name in names)
    for name in found:
        if not REPOSITORY_NAME.fullmatch(name.replace("*", "x")):
            raise SettingsError([f"{name}: expected a repository such as owner/repo, or owner/* for all of an account"])
    if not found:
        raise SettingsError(["name at least one repository, such as owner/repo"])
    return tuple(dict.fromkeys(found))


def _shorten(url: str) -> str:
    return "/".join(urlsplit(url).path.strip("/").split("/")[:2]).removesuffix(".git")


def webhook_secret(present: Mapping[str, str], name: str) -> str:
    """Return the stored secret of the webhook, or a new one."""
    return present.get(name) or secrets.token_hex(32)
