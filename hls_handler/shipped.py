"""The files that HLS ships outside of its modules: prompt library, documentation, and the settings without a file.

In a wheel they are in `hls_handler/shipped_files` (setup.py), in a checkout in the folders beside the package.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
_FOLDER = _PACKAGE / "shipped_files" if (_PACKAGE / "shipped_files").is_dir() else _PACKAGE.parent

PROMPTS = _FOLDER / "prompts"
DOCS = _FOLDER / "docs"
SETTINGS = _FOLDER / "config" / "settings.example.yaml"


@cache
def list_documents() -> dict[str, str]:
    """Return the title of each page of the documentation by its file name: "operating.md" -> "Operating HLS"."""
    titles = {path.name: _first_line(path.read_text(encoding="utf-8")) for path in DOCS.glob("*.md")}
    return dict(sorted(titles.items()))


def _first_line(text: str) -> str:
    return text.partition("\n")[0].removeprefix("# ").replace("`", "")
