"""The comment that tells a repository's maintainers what is wrong in their settings file."""

from __future__ import annotations

from collections.abc import Sequence

from hls_handler.actions import KeepComment
from hls_handler.settings.repository import PATH, allowed_keys
from hls_handler.untrusted.markdown import for_cell

FAMILY = "settings"

TEXT = """\
**For the maintainers of this repository:** something in `{path}`, the settings of HLS, is wrong.

{problems}

Until it is mended, HLS goes by the last version that was right, if there was one; what the file switches off stays \
off. A file may hold {keys}.

***

*Automatic comment by HLS, written once for each version of the file.*"""


def problems_comment(problems: Sequence[str]) -> KeepComment:
    """`problems` quote the file, which is a stranger's text: each stands as code, cleaned and redacted."""
    told = "\n".join(f"- `{for_cell.in_code_span(problem)}`" for problem in problems)
    keys = ", ".join(f"`{key}`" for key in allowed_keys())
    return KeepComment(FAMILY, TEXT.format(path=PATH, problems=told, keys=keys), create=True)
