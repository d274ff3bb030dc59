"""A service in small, to be killed: it accepts deliveries and works on them until then, and says what it did."""

from __future__ import annotations

import asyncio
import sys
import threading

from hls_handler.deliveries import Checkpoint
from hls_handler.queue.group_commit import AcceptQueue
from hls_handler.storage import Storage
from tests.queue.builders import queued


def say(lock: threading.Lock, what: str, guid: str) -> None:
    with lock:
        sys.stdout.write(f"{what} {guid}\n")
        sys.stdout.flush()


def work(store: Storage, wake: threading.Event, lock: threading.Lock) -> None:
    while True:
        lease = store.queue.claim(worker="victim", lease_s=300, max_crashes=20)
        if lease is None:
            wake.wait(store.queue.seconds_until_due())
            wake.clear()
            continue
        store.checkpoints.save(lease, Checkpoint("gather", 0, 1, "{}"))
        say(lock, "remembered", lease.guid)
        store.queue.finish(lease, "done", reason=None, took_s=0)


async def send(queue: AcceptQueue, lock: threading.Lock, life: str) -> None:
    async def one_sender(sender: int) -> None:
        for i in range(100_000):
            guid = f"{life}-{sender}-{i}"
            await queue.accept(queued(guid, number=i % 10))
            say(lock, "answered", guid)

    await asyncio.gather(*(one_sender(sender) for sender in range(8)))


def main() -> None:
    url, life = sys.argv[1:]
    store, wake, lock = Storage.open(url), threading.Event(), threading.Lock()
    store.queue.release_all_leases()
    for _ in range(4):
        threading.Thread(target=work, args=(store, wake, lock), daemon=True).start()
    queue = AcceptQueue(store.queue, replay_window_h=lambda: 72, on_commit=lambda _: wake.set())
    asyncio.run(send(queue, lock, life))


if __name__ == "__main__":
    main()
