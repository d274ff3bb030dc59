"""`hls` with a record of the files that process one webhook:
`python -m tests.e2e.called_files serve --config FILE`.

SIGUSR1 starts a new record; a delivery belongs to the record of the time of its claim. SIGUSR2
writes the record to the file that the variable HLS_CALLED_FILES names, as JSON: for each step its
files in the order of their first call, {"receive": ["web/server.py", ...], "store": [...], "work":
[...]}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import hls_handler
from hls_handler.cli import app

PACKAGE = f"{Path(hls_handler.__file__).parent}{os.sep}"
STORE, WORK = ("queue/group_commit.py", "_commit"), ("engine/workers.py", "_next")
SIGNAL_POLL = ("cli/serve.py", "_run")  # runs beside the requests in the same thread
STEPS = {STORE: "store", WORK: "work"}
CLAIMED = ("queue/leases.py", "add")

_local = threading.local()
_records: list[dict[str, list[str]]] = [{}]


def _profile(frame: FrameType, event: str, _arg: object) -> None:
    if not frame.f_code.co_filename.startswith(PACKAGE) or frame.f_code.co_name == "<module>":
        return
    function = _function(frame)
    if event == "call":
        if function in STEPS:
            _local.record, _local.files = _records[-1], {}
        elif function == CLAIMED:
            _local.record = _records[-1]
        if threading.current_thread() is threading.main_thread():
            if SIGNAL_POLL not in map(_function, _with_callers(frame)):
                _add(_records[-1], "receive", [*_records[-1].get("receive", ()), function[0]])
        elif hasattr(_local, "files"):
            _local.files[function[0]] = None
    elif event == "return" and function in STEPS and hasattr(_local, "files"):
        _add(_local.record, STEPS[function], list(_local.files))
        del _local.files


def _begin_thread(_frame: FrameType, _event: str, _arg: object) -> None:
    """Profile the threads that process webhooks; with all profiled, the start would take many times
    as long.
    """
    is_recorded = threading.current_thread().name.startswith(("accept", "worker"))
    sys.setprofile(_profile if is_recorded else None)


def _function(frame: FrameType) -> tuple[str, str]:
    return frame.f_code.co_filename.removeprefix(PACKAGE), frame.f_code.co_name


def _with_callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _add(record: dict[str, list[str]], step: str, files: list[str]) -> None:
    """Keep the longest list: a worker that finds nothing to claim calls fewer files."""
    record[step] = max(record.get(step, []), list(dict.fromkeys(files)), key=len)


def _begin(_signal: int, _frame: FrameType | None) -> None:
    _records.append({})
    sys.setprofile(_profile)


def _write(_signal: int, _frame: FrameType | None) -> None:
    path = Path(os.environ["HLS_CALLED_FILES"])
    path.with_suffix(".new").write_text(json.dumps(_records[-1]))
    path.with_suffix(".new").replace(path)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _begin)
    signal.signal(signal.SIGUSR2, _write)
    threading.setprofile(_begin_thread)
    app()
