"""Update docs/settings.md from the settings models: `python -m tests.settings.make_reference`.

Keys of `repositories` and `claude.fallbacks` that mean the same as another key have no row: a
sentence below the table lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from hls_handler.settings.reference import Key, Reference

PAGE = Path("docs/settings.md")
HEAD = "| key | meaning | default |\n|---|---|---|"
ENTRIES = {"repositories": ("repositories[].", ""), "claude": ("claude.fallbacks[].", "claude.")}
"""Section -> beginning of the keys of an entry, and of the general keys."""
_TABLES = re.compile(r"^## Keys\n.*?(?=^## (?!`))", re.DOTALL | re.MULTILINE)


def render_page(page: str) -> str:
    """Return the page with the tables between the headings "Keys" and the next one made anew."""
    tables = "\n\n".join(_render_tables())
    return _TABLES.sub(lambda _: f"## Keys\n\n{tables}\n\n", page)


def _render_tables() -> Iterator[str]:
    def section(key: Key) -> str:
        return re.split(r"\W", key.path)[0]

    for name, group in groupby(Reference().keys, section):
        keys = tuple(group)
        lines = (
            f"| `{key.path}` | {key.meaning} | `{key.default}` |"
            for key in keys
            if _find_overridden(key) is None
        )
        yield f"### `{name}`\n\n{HEAD}\n" + "\n".join(lines)
        overridden = [found.path for found in map(_find_overridden, keys) if found is not None]
        if overridden:
            if name == "claude":
                yield (
                    f"An entry of `claude.fallbacks` has the keys from `{overridden[0]}` to"
                    f" `{overridden[-1]}`, too."
                )
            else:
                yield (
                    "An entry can also override these keys, which take the same values:"
                    f" {_name_keys(overridden)}."
                )


def _name_keys(paths: list[str]) -> str:
    """Return the key paths as a list in a sentence; a section whose keys are all among them is
    named as a whole.
    """
    names = []
    for name, group in groupby(paths, lambda path: path.partition(".")[0]):
        of_section = tuple(group)
        is_whole = len(of_section) == sum(
            key.path.startswith(f"{name}.") for key in Reference().keys
        )
        names += [f"all of `{name}`"] if is_whole else [f"`{path}`" for path in of_section]
    return ", ".join(names)


def _find_overridden(key: Key) -> Key | None:
    """Return the general key that a key of `repositories` overrides: `labels.create` for its
    `labels.create`.
    """
    of_entry, of_all = ENTRIES.get(re.split(r"\W", key.path)[0], ("", ""))
    general = Reference().find(re.sub(f"^{re.escape(of_entry)}", of_all, key.path))
    is_override = (
        general is not None and general.path != key.path and general.meaning == key.meaning
    )
    return general if is_override else None


if __name__ == "__main__":
    PAGE.write_text(render_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
