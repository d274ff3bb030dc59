"""Who we are on GitHub, and what we may do in a repository."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, TypeAdapter

from hls_handler.clients.api import Api, repository_path
from hls_handler.errors import DependencyDown, Permanent
from hls_handler.events import Account, WireAccount

WHO_REMEDY = (
    "use a personal access token of the account that HLS shall write as, and check that github.base_url is GitHub's API"
)
_ACCOUNT = TypeAdapter(WireAccount)


class _WireRole(BaseModel):
    """What the account (not the token) may do. https://docs.github.com/en/rest/repos/repos#get-a-repository"""

    model_config = ConfigDict(extra="ignore", frozen=True)

    triage: bool = False
    push: bool = False


class _WireRepository(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    archived: bool = False
    disabled: bool = False
    private: bool = False
    has_issues: bool = True
    permissions: _WireRole | None = None  # absent for an anonymous caller


_REPOSITORY = TypeAdapter(_WireRepository)


@dataclass(frozen=True, slots=True)
class Access:
    """What HLS may do in one repository, as far as GitHub tells without trying."""

    missing: tuple[str, ...]  # what it may not, in plain sentences; empty when all is well


def who_am_i(api: Api) -> Account:
    """The account behind the token. A token without an account (403, 404) is reported as a trouble of the settings."""
    try:
        return api.get("/user", _ACCOUNT).value()
    except Permanent as exc:
        raise DependencyDown(str(exc), dependency="github", remedy=WHO_REMEDY) from exc


def access(api: Api, repository: str) -> Access:
    """Look at "owner/repo" with one request. Raises `DependencyDown` where GitHub itself is the trouble.

    A fine-grained token's own limits do not show here: GitHub tells what its account may do.
    """
    try:
        found, headers = api.get_with_headers(repository_path(repository), _REPOSITORY)
    except Permanent as exc:
        return Access((str(exc),))
    role = found.permissions or _WireRole()
    scopes = _scopes(headers.get("x-oauth-scopes"))
    missing = []
    if found.archived or found.disabled:
        missing.append(f"{repository} is {'archived' if found.archived else 'disabled'}: nothing can be written there")
    if not found.has_issues:
        missing.append(f"{repository} has issues switched off: only pull requests can be worked on")
    if not (role.triage or role.push):
        missing.append(f"the account may not set labels in {repository}: it needs the role triage or write")
    elif not role.push:
        missing.append(
            f"the account may not create labels in {repository}: it needs the role write, or somebody else creates them"
        )
    if scopes is not None and not _suffices(scopes, private=found.private):
        missing.append(f"the token lacks the scope {'repo' if found.private else 'public_repo'}")
    return Access(tuple(missing))


def _scopes(header: str | None) -> frozenset[str] | None:
    """Scopes of a classic token; None for the other kinds, which have none."""
    return None if header is None else frozenset(scope.strip() for scope in header.split(","))


def _suffices(scopes: frozenset[str], *, private: bool) -> bool:
    return "repo" in scopes or (not private and "public_repo" in scopes)
