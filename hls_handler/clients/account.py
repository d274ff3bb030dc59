"""The account that the token belongs to, and its permissions in a repository."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, TypeAdapter

from hls_handler.clients.api import GithubApi, repository_path
from hls_handler.errors import DependencyDown, Permanent
from hls_handler.events import Account, WireAccount

ACCOUNT_REMEDY = (
    "use a personal access token of the account that HLS should use, and check that github.base_url is GitHub's API"
)
_ACCOUNT = TypeAdapter(WireAccount)


class _WireRole(BaseModel):
    """Permissions of the account, not of the token. https://docs.github.com/en/rest/repos/repos#get-a-repository"""

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
class RepositoryAccess:
    """Permissions of HLS in one repository, as far as GitHub reports them without a write."""

    missing: tuple[str, ...]  # one sentence for each missing permission or other obstacle; empty if there is none


def fetch_bot_account(api: GithubApi) -> Account:
    """Return the account that the token belongs to.

    Raises `DependencyDown` with a remedy in the settings for a token without an account (403, 404).
    """
    try:
        return api.get("/user", _ACCOUNT).value()
    except Permanent as exc:
        raise DependencyDown(str(exc), dependency="github", remedy=ACCOUNT_REMEDY) from exc


def access(api: GithubApi, repository: str) -> RepositoryAccess:
    """Check the permissions in "owner/repo" with one request. Raises `DependencyDown` if GitHub itself fails.

    Limits of a fine-grained token are not detected: GitHub reports the permissions of its account.
    """
    try:
        found, headers = api.get_with_headers(repository_path(repository), _REPOSITORY)
    except Permanent as exc:
        return RepositoryAccess((str(exc),))
    role = found.permissions or _WireRole()
    scopes = _scopes(headers.get("x-oauth-scopes"))
    missing = []
    if found.archived or found.disabled:
        missing.append(f"{repository} is {'archived' if found.archived else 'disabled'}: nothing can be written there")
    if not found.has_issues:
        missing.append(f"issues are disabled in {repository}: only pull requests can be processed")
    if not (role.triage or role.push):
        missing.append(f"the account may not set labels in {repository}: it needs the role triage or write")
    elif not role.push:
        missing.append(
            f"the account may not create labels in {repository}: give it the role write, or create them yourself"
        )
    if scopes is not None and not _are_sufficient(scopes, private=found.private):
        missing.append(f"the token lacks the scope {'repo' if found.private else 'public_repo'}")
    return RepositoryAccess(tuple(missing))


def _scopes(header: str | None) -> frozenset[str] | None:
    """Return the scopes of a classic token; None for the other kinds, which have no scopes."""
    return None if header is None else frozenset(scope.strip() for scope in header.split(","))


def _are_sufficient(scopes: frozenset[str], *, private: bool) -> bool:
    return "repo" in scopes or (not private and "public_repo" in scopes)
