"""The command `hls`, whose sandbox keeps its requests, for tests of the demo as a process."""

from __future__ import annotations

from hls_handler.__main__ import main
from hls_sandbox import server
from tests.github_fake.server import Sandbox

if __name__ == "__main__":
    setattr(server, "Sandbox", Sandbox)  # noqa: B010 - mypy forbids the assignment
    main()
