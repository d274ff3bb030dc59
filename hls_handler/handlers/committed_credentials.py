"""Credentials on added lines: hidden from Claude, and therefore always a finding, which Claude is not asked about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hls_handler.analysis import Finding
from hls_handler.handlers.reader import ChangedFile
from hls_handler.review.ledger import PresentFiles
from hls_handler.review.patches import Line, parse_patch
from hls_handler.review.positions import Located
from hls_handler.review.record import LedgerEntry
from hls_handler.review.verdicts import set_gone
from hls_handler.settings.values import PathFilter
from hls_handler.untrusted.redaction import list_credentials


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential on an added line of a file."""

    path: str
    line: int  # of the first one in the new file
    form: str  # "github-token"


def find_credentials(listed: Iterable[ChangedFile], ignored_paths: PathFilter) -> tuple[Credential, ...]:
    """Return the first credential of each known form that each file adds."""
    found: dict[tuple[str, str], Credential] = {}
    for file in listed:
        if ignored_paths.excludes(file.path):
            continue
        hunks = parse_patch(file.patch or "").hunks
        added = [line for hunk in hunks for line in hunk.lines if line.mark == "+"]
        for index, form in list_credentials("\n".join(line.text for line in added)):
            found.setdefault((file.path, form), Credential(file.path, added[index].number, form))
    return tuple(found.values())


def follow_credentials(
    ledger: Iterable[LedgerEntry], credentials: Iterable[Credential], files: PresentFiles
) -> tuple[LedgerEntry, ...]:
    """Return the entries, those about credentials as open while an added line has one, else as gone."""
    present = {(files.name(one.path), one.form): one for one in credentials}

    def follow(entry: LedgerEntry) -> LedgerEntry:
        found = present.get((entry.file, entry.form)) if entry.form else None
        if found is not None:
            state = entry.state if entry.state == "dismissed" else "open"
            return replace(entry, state=state, path=found.path, line=found.line)
        is_gone = entry.form and not entry.is_closed and files.is_known(entry.file, entry.path)
        return set_gone(replace(entry, line=None)) if is_gone else entry

    return tuple(map(follow, ledger))


def find_committed(
    ledger: Iterable[LedgerEntry], credentials: Iterable[Credential], files: PresentFiles
) -> list[Located]:
    """Return a finding for each committed credential that the ledger does not have."""
    known = {(entry.file, entry.form) for entry in ledger}
    new = (one for one in credentials if (files.name(one.path), one.form) not in known)
    return [Located(_make_finding(one), Line("RIGHT", one.line, "+", ""), form=one.form) for one in new]


def _make_finding(credential: Credential) -> Finding:
    return Finding(
        path=credential.path,
        side="RIGHT",
        start_line=None,
        line=credential.line,
        quote="",
        body="Who can read the repository can use it, also after it is removed. Revoke it where it was issued.",
        suggestion=None,
        category="security",
        severity="critical",
        confidence=1,
        continues=None,
        title=f"A credential of the form {credential.form} is committed: revoke it",
    )
