"""What remembering costs: deliveries/s of the pipeline over the store, against over dictionaries, in one process.

The pipeline is the product's own, from the claim to the end; GitHub and Claude are the fakes of the tests, which answer
at once and without HTTP. A delivery of an opened issue remembers six steps.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import cast

from msgspec.structs import replace

from bench.in_memory import InMemory
from bench.row import Row, median, spread
from hls_handler.deliveries import NewDelivery
from hls_handler.prompting import recorded
from hls_handler.storage import Storage
from hls_handler.work.runner import attempt
from tests.work.fakes import FakeClaude, FakeGithub
from tests.work.world import BUG, World, settings

ROUNDS, DELIVERIES, WORKERS = 9, 40, 4
STEPS = 6
REQUIRED, AIM = 0.3, 0.6

_numbers = itertools.count(1)


def measure(folder: Path, *, rounds: int = ROUNDS, deliveries: int = DELIVERIES) -> tuple[Row, ...]:
    in_memory = InMemory()
    given = settings()
    given = given.model_copy(update={"claude": given.claude.model_copy(update={"calls_per_hour": 100_000})})
    with closing(Storage.open(f"sqlite:///{folder / 'steps.db'}")) as store:
        ours, without = (World(one, FakeGithub(), FakeClaude([BUG]), given) for one in (store, _as(in_memory)))
        for world in (ours, without):
            _worked_off(world, deliveries)
        kept, forgotten = [], []
        for _ in range(rounds):
            kept.append(_worked_off(ours, deliveries))
            forgotten.append(_worked_off(without, deliveries))
        newest = store.deliveries.newest(state="done", limit=1)[0]
        assert len(store.checkpoints.load(newest.guid)) == STEPS, f"{len(store.checkpoints.load(newest.guid))} steps"
    ratios = [remembering / not_at_all for remembering, not_at_all in zip(kept, forgotten, strict=True)]
    how = f"{median(kept):.0f}/s to {median(forgotten):.0f}/s of {WORKERS} workers, {STEPS} steps; {spread(ratios)}"
    return (Row("deliveries/s that remember to in memory", median(ratios), "at least", REQUIRED, AIM, how),)


def _as(in_memory: InMemory) -> Storage:
    return cast(Storage, in_memory)


def _worked_off(world: World, deliveries: int) -> float:
    """Deliveries a second, of as many as are put in before."""
    payload = recorded.load("issues.opened")
    new = NewDelivery(
        guid="",
        event="issues",
        action="opened",
        request_id="r",
        state="queued",
        repository_id=1,
        repository="Codertocat/Hello-World",
        body=payload.body,
    )
    numbers = list(itertools.islice(_numbers, deliveries))
    world.store.queue.accept(
        [replace(new, guid=str(n), number=n, digest=str(n).encode()) for n in numbers], replay_window_h=72
    )
    done: list[str] = []

    def work() -> None:
        while (lease := world.store.queue.claim(worker="bench", lease_s=600, max_crashes=10)) is not None:
            finished = attempt(lease, world.tools())
            assert finished is not None, "it waits or has failed"
            done.append(finished.guid)

    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - begun
    assert len(done) == deliveries, f"{len(done)} of {deliveries} were done"
    return deliveries / took_s
