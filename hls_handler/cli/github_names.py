"""Names of repositories, issues and pull requests on the command line: owner/repo, owner/repo#7, or a URL."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

import typer

from hls_handler.cli.options import abort
from hls_handler.events import REPOSITORY_NAME
from hls_handler.settings.values import web_url

SHORT_NAME = re.compile(r"(?P<repository>[^\s#:]+)#(?P<number>[1-9][0-9]{0,8})")
CONVERSATION_PATH = re.compile(r"/(?P<repository>[^/]+/[^/]+)/(?:issues|pull)/(?P<number>[1-9][0-9]{0,8})(?:/.*)?")
REPOSITORY_PATH = re.compile(r"/(?P<repository>[^/]+/[^/]+?)(?:\.git)?(?:/.*)?")
DEFAULT_PORTS = {"https": 443, "http": 80}


def find_conversation(given: str, *, base_url: str) -> tuple[str, int] | None:
    """Parse "owner/repo#7" or a URL into ("owner/repo", 7). Return None for text that is neither.

    Exits with 2 if the URL is not that of an issue or pull request on the host of `base_url`.
    """
    if given.startswith(("https://", "http://")):
        example = "OWNER/REPO/issues/7 or .../pull/13"
        match = _parse_url(given, base_url, CONVERSATION_PATH, "an issue or a pull request", example)
        return match["repository"], int(match["number"])
    named = SHORT_NAME.fullmatch(given)
    if named is None or not REPOSITORY_NAME.fullmatch(named["repository"]):
        return None
    return named["repository"], int(named["number"])


def require_conversation(given: str, *, base_url: str) -> tuple[str, int]:
    """Do the same as `find_conversation`, but exit with 2 if the text is neither."""
    found = find_conversation(given, base_url=base_url)
    if found is None:
        raise typer.BadParameter("write it as owner/repo#7, or as the URL of the issue or pull request")
    return found


def require_repository(given: str, *, base_url: str) -> str:
    """Return "owner/repo" for the same text, or for the URL of the repository or of a page in it. Else exit with 2."""
    if given.startswith(("https://", "http://")):
        return _parse_url(given, base_url, REPOSITORY_PATH, "a repository", "OWNER/REPO")["repository"]
    if not REPOSITORY_NAME.fullmatch(given):
        raise typer.BadParameter("write it as owner/repo, or as the URL of the repository")
    return given


def _parse_url(given: str, base_url: str, path: re.Pattern[str], what: str, example: str) -> re.Match[str]:
    host = web_host(base_url)
    try:
        url = urlsplit(given)
        named_host = _host_and_port(url)
    except ValueError:  # an invalid port or IPv6 address
        named_host = ""
    match = path.fullmatch(url.path) if named_host else None
    if match is None or not REPOSITORY_NAME.fullmatch(match["repository"]):
        abort(f"{given} is not the URL of {what}, such as https://{host}/{example}")
    if named_host.removeprefix("www.") != host:
        abort(f"{given} is not on {host}, the host of github.base_url ({base_url}); change github.base_url")
    return match


def web_host(base_url: str) -> str:
    """Return the host of GitHub's web pages: "github.com" for the API URL https://api.github.com."""
    return _host_and_port(urlsplit(web_url(base_url)))


def _host_and_port(url: SplitResult) -> str:
    host = url.hostname or ""
    return host if url.port in (None, DEFAULT_PORTS.get(url.scheme)) else f"{host}:{url.port}"
