"""Numbers, cleans and redacts GitHub's patches. A credential on an added line is always a finding.

A hunk shows a few lines of its file, so redaction would not recognise a private key that begins
above it. Such a hunk gets a line that begins a key, with the number 0, until it is redacted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hls_handler.analysis import Finding
from hls_handler.github.source import CommitFiles, read_texts
from hls_handler.review.blocks import token
from hls_handler.review.ledger import reopen, set_gone
from hls_handler.review.patches import (
    HUNK_HEADER,
    NUMBERED_LINE,
    Hunk,
    Line,
    Patch,
    hide_data,
    numbered,
    parse_numbered,
    parse_patch,
)
from hls_handler.review.positions import Located
from hls_handler.review.present_lines import PresentFiles
from hls_handler.review.record import LedgerEntry
from hls_handler.settings.path_globs import PathFilter
from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.untrusted.redaction import LIKE_KEY, REDACTED_KEY, list_credentials, redact_code


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


BEGIN_ABOVE = Line("RIGHT", 0, " ", "-----BEGIN PRIVATE KEY-----")
BARE_WORD = re.compile(r"\s*[A-Za-z0-9+/=]+\s*")


def number_patches(patches: Mapping[str, str], commit_files: CommitFiles) -> Mapping[str, str]:
    """Return GitHub's patches as `number_patch` does, by path. Files of which a hunk may begin
    inside a private key are read at the head commit.
    """
    texts = {path: _number(patch) for path, patch in patches.items()}
    doubtful = [path for path, text in texts.items() if LIKE_KEY.search(text)]
    sources = read_texts(commit_files, doubtful).value
    completed = {path: _complete(texts[path], sources.get(path)) for path in doubtful}
    return {**texts, **completed}


def number_patch(patch: str) -> str:
    """Return GitHub's patch as cleaned numbered text, with the credentials in it.

    Its file is not known: a hunk that begins with lines like those of a private key counts as one
    that begins inside of it.
    """
    text = _number(patch)
    if LIKE_KEY.search(text):
        return _complete(text, None)
    return text


def redact_patch(numbered_text: str) -> Patch:
    """Return a numbered patch as prompts show it. It is redacted before long data is hidden and the
    patch is split, because half a key has no form.
    """
    patch = hide_data(parse_numbered(redact_code(numbered_text)))
    hunks = [
        replace(hunk, lines=tuple(line for line in hunk.lines if line.number))
        for hunk in patch.hunks
    ]
    return Patch(tuple(hunks))


def _number(patch: str) -> str:
    hunks = [replace(hunk, header=_shorten(hunk.header)) for hunk in parse_patch(patch).hunks]
    return clean(CodeText(f"{numbered(Patch(tuple(hunks)))}\n"))


def _shorten(header: str) -> str:
    """Return a header without a heading that is one word. git takes the nearest line above that
    begins with a letter, which may be one of a key.
    """
    numbers = HUNK_HEADER.match(header)
    if numbers and BARE_WORD.fullmatch(header, numbers.end()):
        return numbers[0]
    return header


def _complete(numbered_text: str, source: str | None) -> str:
    """Return a patch with a line that begins a key in each hunk that begins inside of one.

    `source` is the redacted file; without it, a hunk may begin so.
    """
    source_lines: list[str] | None = None
    if source is not None:
        source_lines = source.split("\n")
    hunks = [_complete_hunk(hunk, source_lines) for hunk in parse_numbered(numbered_text).hunks]
    return f"{numbered(Patch(tuple(hunks)))}\n"


def _complete_hunk(hunk: Hunk, source_lines: list[str] | None) -> Hunk:
    first = next((line.number for line in hunk.lines if line.side == "RIGHT"), 1)
    if first == 1:
        return hunk
    if source_lines is not None and REDACTED_KEY not in "".join(source_lines[first - 1 : first]):
        return hunk
    return replace(hunk, lines=(BEGIN_ABOVE, *hunk.lines))
