"""A process of the version before: it does with its own store what it is told, a line each, and says when it is done.

`accept PREFIX HOW_MANY`, `work HOW_MANY` (or until nothing is due), `hold` (claim one, remember a step, keep it).
"""

from __future__ import annotations

import hashlib
import sys
import time

from hls_handler.deliveries import NewDelivery, Remembered
from hls_handler.store import Store

THREADS = 5


def main(url: str) -> None:
    store = Store.open(url)
    answer("open")
    for line in sys.stdin:
        what, *terms = line.split()
        match what:
            case "accept":
                accept(store, terms[0], int(terms[1]))
                answer("accepted")
            case "work":
                answer(" ".join(work(store, int(terms[0]))))
            case "hold":
                lease = store.claim(worker="old", lease_s=30, max_crashes=10)
                assert lease is not None
                store.remember(lease, Remembered("gather", 0, 1, '"by the old one"'))
                answer(lease.guid)


def accept(store: Store, prefix: str, how_many: int) -> None:
    for number in range(how_many):
        guid = f"{prefix}-{number}"
        body = guid.encode()
        new = NewDelivery(
            guid=guid,
            event="issues",
            action="opened",
            request_id=guid,
            state="queued",
            repository_id=1,
            repository="octo/widgets",
            number=number % THREADS,
            digest=hashlib.sha256(body).digest(),
            body=body,
        )
        (accepted,) = store.accept([new], replay_window_h=72)
        assert accepted.outcome == "queued"


def work(store: Store, how_many: int) -> list[str]:
    """The deliveries that were worked on, in that order; those that can be had within half a minute."""
    done: list[str] = []
    until = time.monotonic() + 30
    while len(done) < how_many and time.monotonic() < until:
        lease = store.claim(worker="old", lease_s=30, max_crashes=10)
        if lease is None:
            if store.seconds_until_due() is None:
                break
            continue
        assert lease.body == lease.guid.encode()
        store.remember(lease, Remembered("gather", 0, 1, "{}"))
        store.finish(lease, "done", reason="so", handler="H", took_s=0)
        done.append(lease.guid)
    return done


def answer(said: str) -> None:
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
