"""Credentials on added lines: hidden from Claude, and therefore always a finding, which Claude is
not asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hls_handler.analysis import Finding
from hls_handler.review.blocks import token
from hls_handler.review.ledger import reopen, set_gone
from hls_handler.review.patches import NUMBERED_LINE, Line
from hls_handler.review.positions import Located
from hls_handler.review.present_files import PresentFiles
from hls_handler.review.record import LedgerEntry
from hls_handler.settings.path_globs import PathFilter
from hls_handler.untrusted.redaction import list_credentials


@dataclass(frozen=True, slots=True)
class CommittedCredential:
    """A credential on an added line of a file."""

    path: str
    line: int  # of the first one in the new file
    form: str  # "github-token"
    values: tuple[str, ...]  # digests of all of this form in the file


def find_credentials(
    numbered: Mapping[str, str], ignored_paths: PathFilter
) -> tuple[CommittedCredential, ...]:
    """Return the credentials on added lines, by file and form. `numbered` maps paths to patches."""
    credentials: dict[tuple[str, str], CommittedCredential] = {}
    for path, text in numbered.items():
        if ignored_paths.excludes(path):
            continue
        for start, end, form in list_credentials(text):
            # from the beginning of its first line
            line_text = text[text.rfind("\n", 0, start) + 1 : end]
            lines = [*filter(None, map(NUMBERED_LINE.fullmatch, line_text.split("\n")))]
            added = [int(line["number"]) for line in lines if line["mark"] == "+"]
            if added:
                secret = text[start:end]
                if len(lines) > 1:
                    secret = "\n".join(line["text"] or "" for line in lines)
                before = credentials.get(
                    (path, form), CommittedCredential(path, added[0], form, ())
                )
                credentials[path, form] = replace(
                    before, values=(*before.values, token(" ", secret))
                )
    return tuple(credentials.values())


def follow_credentials(
    ledger: Iterable[LedgerEntry], credentials: Iterable[CommittedCredential], files: PresentFiles
) -> tuple[LedgerEntry, ...]:
    """Return the entries. An entry about a credential is open while an added line has a credential,
    else gone.
    """
    present = {
        (files.name(credential.path), credential.form): credential for credential in credentials
    }

    def follow(entry: LedgerEntry) -> LedgerEntry:
        if not entry.form:
            return entry
        credential = present.get((entry.file, entry.form))
        if credential is not None:
            # what people said was not about this one
            if not {*entry.values}.issuperset(credential.values):
                entry = reopen(entry)
            values = tuple(dict.fromkeys((*entry.values, *credential.values)))
            # dismissals are applied later
            return replace(
                entry, state="open", path=credential.path, line=credential.line, values=values
            )
        if entry.is_closed or not files.is_known(entry.file, entry.path):
            return entry
        return set_gone(replace(entry, line=None))

    return tuple(map(follow, ledger))


def find_committed(
    ledger: Iterable[LedgerEntry], credentials: Iterable[CommittedCredential], files: PresentFiles
) -> list[Located]:
    """Return a finding for each committed credential that the ledger does not have."""
    reported = {(entry.file, entry.form) for entry in ledger}
    new = (
        credential
        for credential in credentials
        if (files.name(credential.path), credential.form) not in reported
    )
    return [
        Located(
            _make_finding(credential), Line("RIGHT", credential.line, "+", ""), form=credential.form
        )
        for credential in new
    ]


def _make_finding(credential: CommittedCredential) -> Finding:
    return Finding(
        path=credential.path,
        side="RIGHT",
        start_line=None,
        line=credential.line,
        quote="",
        body=(
            "Who can read the repository can use it, also after it is removed. Revoke it where it"
            " was issued."
        ),
        suggestion=None,
        category="security",
        severity="critical",
        confidence=1,
        continues=None,
        rests_on=[],
        look_up=[],
        title=f"A credential of the form {credential.form} is committed: revoke it",
    )
