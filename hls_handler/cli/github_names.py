"""Names of repositories, issues and pull requests on the command line: owner/repo, owner/repo#7, or
a URL.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import typer

from hls_handler.cli.options import abort
from hls_handler.events import REPOSITORY_NAME
from hls_handler.settings.values import web_url

CONVERSATION = re.compile(
    r"(?P<repository>[^\s#:]+)(?:#|/(?:issues|pull)/)(?P<number>[1-9][0-9]{0,8})"
)
EXPECTED = "OWNER/REPO/issues/7 or .../pull/13"


def find_conversation(text: str, *, base_url: str) -> tuple[str, int] | None:
    """Parse "owner/repo#7" or a URL into ("owner/repo", 7). Return None for text that is neither.

    Exits with 2 if the URL is not that of an issue or pull request on the host of `base_url`.
    """
    parts = _split_url(text, base_url)
    name = text
    if parts is not None:
        name = "/".join(parts[:4])
    named = CONVERSATION.fullmatch(name)
    if named is not None and REPOSITORY_NAME.fullmatch(named["repository"]):
        return named["repository"], int(named["number"])
    if parts is not None:
        abort(
            f"{text} is not the URL of an issue or a pull request, such as"
            f" {web_url(base_url)}/{EXPECTED}"
        )
    return None


def require_conversation(text: str, *, base_url: str) -> tuple[str, int]:
    """Do the same as `find_conversation`, but exit with 2 if the text is neither."""
    conversation = find_conversation(text, base_url=base_url)
    if conversation is None:
        raise typer.BadParameter(
            "write it as owner/repo#7, or as the URL of the issue or pull request"
        )
    return conversation


def require_repository(text: str, *, base_url: str) -> str:
    """Return "owner/repo" for the same text, or for the URL of the repository or of a page in it.
    Else exit with 2.
    """
    parts = _split_url(text, base_url)
    name = text
    if parts is not None:
        name = "/".join(parts[:2]).removesuffix(".git")
    if not REPOSITORY_NAME.fullmatch(name):
        raise typer.BadParameter("write it as owner/repo, or as the URL of the repository")
    return name


def _split_url(text: str, base_url: str) -> list[str] | None:
    """Return the parts of the URL's path; None for text that is no URL. Exits with 2 for another
    host.
    """
    if not text.startswith(("https://", "http://")):
        return None
    try:
        url = urlsplit(text)
        host = urlsplit(web_url(base_url)).netloc.lower()
    except ValueError:
        raise typer.BadParameter(f"{text} is not a URL") from None
    if url.netloc.lower().removeprefix("www.") != host:
        abort(
            f"{text} is not on {host}, the host of github.base_url ({base_url}); change"
            " github.base_url"
        )
    return url.path.strip("/").split("/")
