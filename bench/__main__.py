"""`python -m bench`: prints the ratios and what is required of them; exit code 1 if one is missed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench import accept, memory


def _folder() -> Path:
    """On the real disk, where the service's own database is by default; git ignores it."""
    folder = Path("data/bench")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> int:
    with tempfile.TemporaryDirectory(dir=_folder()) as folder:
        accepts = accept.measure(Path(folder))
    for bare, product, ratio in zip(accepts.bare, accepts.product, accepts.ratios, strict=True):
        print(f"  bare {bare.per_second:8.0f}/s   durable accept {product.per_second:8.0f}/s   ratio {ratio:.3f}")
    print(f"accept: {accepts.ratio:.3f} of a bare Starlette application (at least {accept.REQUIRED})")
    with tempfile.TemporaryDirectory(dir=_folder()) as folder:
        grown = memory.measure(Path(folder))
    print(
        f"memory: {grown.growth:.3f} times after {memory.MANY} deliveries, {grown.many_kb / 1024:.0f} MB, "
        f"against after {memory.FEW}, {grown.few_kb / 1024:.0f} MB (at most {memory.ALLOWED}); "
        f"{grown.done} done in {grown.seconds:.0f} s"
    )
    return 0 if accepts.ratio >= accept.REQUIRED and grown.growth <= memory.ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
