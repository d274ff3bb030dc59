"""The results of backtests: JSON documents beside the SQLite files, in one folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

import msgspec

from hls_handler.db.database import parse_url, sqlite_file
from hls_handler.settings.model import Settings

FOLDER = "backtests"


class ShareDocument(TypedDict):
    part: int
    of: int
    value: float | None
    low: float  # ends of the 95% interval
    high: float


class LabelDocument(TypedDict):
    label: str
    precision: ShareDocument
    recall: ShareDocument


class CellDocument(TypedDict):
    left: str | None
    given: str | None
    issues: int


class BandDocument(TypedDict):
    low: float
    high: float
    stated: float | None
    right: ShareDocument


class ChoiceDocument(TypedDict):
    right: ShareDocument
    without_label: ShareDocument
    calibration: list[BandDocument]


class FieldDocument(TypedDict):
    field: str
    issues: int  # with a label that people decided
    is_enough: bool
    labels: list[LabelDocument]
    confusion: list[CellDocument]
    choice: ChoiceDocument | None  # None of a list, which has several labels of an issue


class SideDocument(TypedDict):
    title: str
    asked: int  # issues with a result
    failed: dict[str, int]  # issues without a usable reply, by problem
    calls: int
    cost_usd: float | None
    usd_per_issue: float | None
    fields: list[FieldDocument]
    front_matter: str  # YAML to paste into the prompt; "" if no label has another name


class DecisionDocument(TypedDict):
    conclusion: str
    test: str | None  # the test that decided
    planned: int
    compared: int
    missing: int
    fixed: int
    broken: int
    current: ShareDocument
    candidate: ShareDocument


class BacktestDocument(TypedDict):
    repository: str
    ended_at: str
    read: int
    skipped: dict[str, int]
    planned: int  # issues that the first run wanted to ask about
    labelled: int  # issues with a label that people decided; more than planned if some were added
    cost_usd: float | None
    sides: list[SideDocument]
    decision: DecisionDocument | None
    stopped: str | None  # why issues were not asked


def format_share(share: ShareDocument) -> str:
    """Return "82% (76% to 88%)", with the 95% interval, or "none"."""
    if share["value"] is None:
        return "none"
    return f"{share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%})"


def find_folder(settings: Settings) -> Path:
    """Return the folder of backtests: beside the SQLite database, else `data/backtests`."""
    database = sqlite_file(parse_url(settings.storage.url))
    if database is None:
        return Path("data") / FOLDER
    return database.parent / FOLDER


def save_document(path: Path, document: BacktestDocument) -> None:
    """Write a document as a whole, readable by its user only."""
    written = path.with_suffix(".new")
    written.touch(mode=0o600)
    written.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    written.replace(path)


def list_names(folder: Path) -> Sequence[str]:
    """Return the names of the documents, the newest first."""
    ages = {}
    for file in folder.glob("*.json"):
        with suppress(OSError):  # it was deleted meanwhile
            ages[file.stem] = file.stat().st_mtime
    return sorted(ages, key=ages.__getitem__, reverse=True)


def load_document(folder: Path, name: str) -> BacktestDocument | None:
    """Return a document of the folder; None if there is none that this version can read."""
    if name not in list_names(folder):
        return None
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=BacktestDocument)
    return None
