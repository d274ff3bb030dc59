"""The files that HLS ships outside of its modules: prompt library, documentation, and the settings without a file.

In a wheel they are in `hls_handler/shipped_files` (setup.py), in a checkout in the folders beside the package.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
_FOLDER = _PACKAGE / "shipped_files" if (_PACKAGE / "shipped_files").is_dir() else _PACKAGE.parent

PROMPTS = _FOLDER / "prompts"
DOCS = _FOLDER / "docs"
SETTINGS = _FOLDER / "config" / "settings.example.yaml"
