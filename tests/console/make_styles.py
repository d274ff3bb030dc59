"""Update the style sheets and scripts of the console that others wrote:
`python -m tests.console.make_styles`.

It needs npm. `primer.css` has the variables of @primer/primitives that are used, and the buttons
and forms of @primer/css.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

STATIC = Path("hls_handler/console/static")
PRIMITIVES = "@primer/primitives@11.10.0"
PRIMER_CSS = "@primer/css@22.3.2"
UPLOT = "uplot@1.6.32"
OWN = ("console.css", "console.js")
SIZES = (
    "base/size/size.css",
    "base/typography/typography.css",
    "functional/size/border.css",
    "functional/size/radius.css",
    "functional/typography/typography.css",
)
COMPONENTS = ("buttons", "forms")
THEMES = {
    "light": "",
    "dark": "(prefers-color-scheme: dark)",
    "light-high-contrast": "(prefers-contrast: more)",
    "dark-high-contrast": "(prefers-contrast: more) and (prefers-color-scheme: dark)",
}
"""Theme -> the media query with which it is used. The last one that matches has precedence."""

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_DEFINITION = re.compile(r"(--[\w-]+):\s*([^;]+);")
_NAME = re.compile(r"--[A-Za-z][\w-]*")
_OLD_NAME = re.compile(r"var\((--[\w-]+),\s*var\(--color-[\w-]+\)\)")
_IMAGE = re.compile(r"background-image:url\([^)]*\);?")

Variables = Mapping[str, str]


def find_used(text: str, variables: Variables) -> set[str]:
    """Return the names of the variables in the text, and of those in their values."""
    found: set[str] = set()
    unread = [text]
    while unread:
        new = set(_NAME.findall(unread.pop())) & variables.keys() - found
        found |= new
        unread += [variables[name] for name in new]
    return found


def read_variables(path: Path) -> Variables:
    """Return the variables of a style sheet, in its order."""
    text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
    return dict(_DEFINITION.findall(text))


def cut_primer(primitives: Path, css: Path, own: str) -> Iterator[str]:
    """Yield the parts of `primer.css`. The arguments are two unpacked packages, and the console's
    own style sheet and script.
    """
    styles = primitives / "dist" / "css"
    components = [(css / "dist" / f"{name}.css").read_text(encoding="utf-8") for name in COMPONENTS]
    rules = _IMAGE.sub("", _OLD_NAME.sub(r"var(\1)", "\n".join(components)))
    sizes: dict[str, str] = {}
    for name in SIZES:
        sizes.update(read_variables(styles / name))
    yield f"/* {PRIMITIVES} and {PRIMER_CSS}, MIT, see primer.LICENSE; cut by make_styles.py */"
    for theme, media in THEMES.items():
        colours = read_variables(styles / "functional" / "themes" / f"{theme}.css")
        variables = {**sizes, **colours}
        used = find_used(own + rules, variables)
        if media:
            used &= colours.keys()
        definitions = [f"{name}: {variables[name]};" for name in variables if name in used]
        block = "\n".join((":root {", *definitions, "}"))
        if media:
            block = f"@media {media} {{\n{block}\n}}"
        yield block
    yield rules


def unpack(package: str, folder: Path) -> Path:
    """Download the package from npm's registry, and return the folder with its files."""
    target = folder / re.sub(r"\W", "-", package)
    target.mkdir()
    subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", target, package],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with tarfile.open(next(target.glob("*.tgz"))) as archive:
        archive.extractall(target, filter="data")
    return target / "package"


def main() -> None:
    own = "".join((STATIC / name).read_text(encoding="utf-8") for name in OWN)
    with TemporaryDirectory() as name:
        folder = Path(name)
        primitives = unpack(PRIMITIVES, folder)
        css = unpack(PRIMER_CSS, folder)
        uplot = unpack(UPLOT, folder)
        primer = "\n".join(cut_primer(primitives, css, own))
        (STATIC / "primer.css").write_text(f"{primer.rstrip()}\n", encoding="utf-8")
        licences = [(one / "LICENSE").read_text(encoding="utf-8") for one in (primitives, css)]
        (STATIC / "primer.LICENSE").write_text("\n".join(licences), encoding="utf-8")
        for source, target in (
            ("dist/uPlot.iife.min.js", "uplot.min.js"),
            ("dist/uPlot.min.css", "uplot.min.css"),
            ("LICENSE", "uplot.LICENSE"),
        ):
            (STATIC / target).write_bytes((uplot / source).read_bytes())


if __name__ == "__main__":
    main()
