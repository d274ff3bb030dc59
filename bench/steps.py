"""Cost of checkpoints: throughput of the pipeline with the database, relative to a storage in
dictionaries.

The pipeline runs from the claim to the end; GitHub is the sandbox in this process, without HTTP,
and Claude a fake that replies at once. A delivery of an opened issue stores six checkpoints.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import cast

from bench.in_memory import InMemory
from bench.row import Row, describe_rounds, median
from hls_handler.deliveries import NewDelivery
from hls_handler.engine.pipeline import run_delivery
from hls_handler.prompting import recorded
from hls_handler.store.search import DeliverySearch
from hls_handler.store.storage import Storage
from tests.engine.claude import FakeClaude
from tests.engine.stand_in import StandIn
from tests.engine.world import BUG, World, make_github, settings
from tests.handlers.world import ISSUE

ROUNDS, DELIVERIES, WORKERS = 9, 40, 4
CHECKPOINTS = 6
REQUIRED, AIM = 0.15, 0.3

_numbers = itertools.count(1)


def measure(folder: Path, *, rounds: int = ROUNDS, deliveries: int = DELIVERIES) -> tuple[Row, ...]:
    defaults = settings()
    # Without the cache of replies: all deliveries have the same question.
    claude = defaults.claude.model_copy(update={"calls_per_hour": 100_000, "cache_ttl_h": 0.0})
    unlimited = defaults.model_copy(update={"claude": claude})
    with closing(Storage.open(f"sqlite:///{folder / 'steps.db'}")) as store:
        with_database, without = (
            World(one, make_github(), FakeClaude([BUG]), unlimited)
            for one in (store, cast(Storage, InMemory()))
        )
        for world in (with_database, without):
            _deliveries_per_s(world, deliveries)
        database, memory = [], []
        for _ in range(rounds):
            database.append(_deliveries_per_s(with_database, deliveries))
            memory.append(_deliveries_per_s(without, deliveries))
        newest = next(store.searches.read_all(DeliverySearch(state="done")))
        checkpoints = len(store.checkpoints.load(newest.guid))
        assert checkpoints == CHECKPOINTS, f"{checkpoints} checkpoints"
    ratios = [one / other for one, other in zip(database, memory, strict=True)]
    rates = f"{median(database):.0f}/s to {median(memory):.0f}/s"
    details = (
        f"{rates} with {WORKERS} workers, {CHECKPOINTS} checkpoints; {describe_rounds(ratios)}"
    )
    return (
        Row("deliveries/s, database to memory", median(ratios), "at least", REQUIRED, AIM, details),
    )


def _deliveries_per_s(world: World, deliveries: int) -> float:
    """Queue deliveries, process them, and return the throughput."""
    numbers = list(itertools.islice(_numbers, deliveries))
    for number in numbers:
        world.github.put_issue(dataclasses.replace(ISSUE, number=number))
    world.store.queue.accept([_make_delivery(number) for number in numbers])
    done: list[str] = []

    def work() -> None:
        client = StandIn(world.github.state)
        worker = dataclasses.replace(world, github=client)
        while (lease := world.store.queue.claim(worker="bench", lease_s=600)) is not None:
            end = run_delivery(lease, worker.tools())
            assert end is not None, "a delivery was postponed or failed"
            done.append(lease.guid)

    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - start
    assert len(done) == deliveries, f"{len(done)} of {deliveries} were done"
    return deliveries / took_s


def _make_delivery(number: int) -> NewDelivery:
    payload = recorded.load("issues.opened").payload
    document = {**payload, "issue": {**payload["issue"], "number": number}}
    return NewDelivery(
        guid=str(number),
        event="issues",
        action="opened",
        request_id="r",
        state="queued",
        repository_id=1,
        repository="Codertocat/Hello-World",
        number=number,
        digest=str(number).encode(),
        body=json.dumps(document).encode(),
    )
