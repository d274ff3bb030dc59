"""A small service that a test kills: it accepts and processes deliveries, and prints each accepted and saved GUID."""

from __future__ import annotations

import asyncio
import sys
import threading

from hls_handler.deliveries import Checkpoint
from hls_handler.queue.group_commit import AcceptQueue
from hls_handler.storage import Storage
from tests.queue.builders import queued


def report(lock: threading.Lock, what: str, guid: str) -> None:
    with lock:
        sys.stdout.write(f"{what} {guid}\n")
        sys.stdout.flush()


def work(store: Storage, wake: threading.Event, lock: threading.Lock) -> None:
    while True:
        lease = store.queue.claim(worker="worker", lease_s=300, max_crashes=20)
        if lease is None:
            wake.wait(store.queue.seconds_until_due())
            wake.clear()
            continue
        store.checkpoints.save(lease, Checkpoint("gather", 0, 1, "{}"))
        report(lock, "saved", lease.guid)
        store.queue.finish(lease, "done", reason=None, took_s=0)


async def send(queue: AcceptQueue, lock: threading.Lock, prefix: str) -> None:
    async def send_one_after_the_other(sender: int) -> None:
        for i in range(100_000):
            guid = f"{prefix}-{sender}-{i}"
            await queue.accept(queued(guid, number=i % 10))
            report(lock, "accepted", guid)

    await asyncio.gather(*(send_one_after_the_other(sender) for sender in range(8)))


def main() -> None:
    url, prefix = sys.argv[1:]
    store, wake, lock = Storage.open(url), threading.Event(), threading.Lock()
    store.queue.release_all_leases()
    for _ in range(4):
        threading.Thread(target=work, args=(store, wake, lock), daemon=True).start()
    queue = AcceptQueue(store.queue, replay_window_h=lambda: 72, on_commit=lambda _: wake.set())
    asyncio.run(send(queue, lock, prefix))


if __name__ == "__main__":
    main()
