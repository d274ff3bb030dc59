"""`Storage`: opens the database and holds the objects that read and write it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Final, Self

from hls_handler.db.counters import CounterWriter
from hls_handler.db.database import Database, NotReady, parse_url
from hls_handler.db.files import ensure_private_file
from hls_handler.db.migrate import migrate
from hls_handler.db.values import no_skew
from hls_handler.queue.checkpoints import Checkpoints
from hls_handler.queue.delivery_queue import DeliveryQueue
from hls_handler.queue.locks import Locks
from hls_handler.queue.pauses import Pauses
from hls_handler.queue.rate_limiter import RateLimiter
from hls_handler.store.analyses import Analyses
from hls_handler.store.batches import Batches
from hls_handler.store.call_rows import RepliesReader, ReplyCache
from hls_handler.store.calls import ClaudeCalls, Questions
from hls_handler.store.catch_up import CatchUpStore
from hls_handler.store.commit_checks import CommitChecks
from hls_handler.store.conversations import BotAccounts, Conversations
from hls_handler.store.corrections import Corrections
from hls_handler.store.deliveries import Deliveries
from hls_handler.store.forgetting import Forgetting
from hls_handler.store.interruptions import Interruptions
from hls_handler.store.limits import Budgets
from hls_handler.store.numbers import Statistics
from hls_handler.store.repositories import Repositories, RepositoryFiles
from hls_handler.store.retention import RetentionStore
from hls_handler.store.review_records import Reviews
from hls_handler.store.search import DeliverySearches
from hls_handler.store.texts import Texts

log = logging.getLogger(__name__)

# half a minute, while the database server is starting
_CONNECT_ATTEMPTS = 60
_CONNECT_RETRY_S = 0.5


class Storage:
    """The thread-safe objects that read and write one database, such as `queue` and `locks`.

    Each of their methods is one transaction, and raises `StoreUnavailable` if the database cannot
    be used. All times come from the database's clock.
    """

    def __init__(self, database: Database) -> None:
        counters = CounterWriter(database)
        checkpoints = Checkpoints(database, counters)
        self.database: Final = database
        self.queue: Final = DeliveryQueue(database, checkpoints, counters)
        self.checkpoints: Final = checkpoints
        self.rate_limiter: Final = RateLimiter(database, checkpoints)
        self.locks: Final = Locks(database, checkpoints)
        self.pauses: Final = Pauses(database)
        self.deliveries: Final = Deliveries(database)
        self.searches: Final = DeliverySearches(database)
        self.analyses: Final = Analyses(database)
        self.statistics: Final = Statistics(database)
        self.reply_cache: Final = ReplyCache(database)
        self.questions: Final = Questions(database)
        self.replies: Final = RepliesReader(database)
        self.calls: Final = ClaudeCalls(database, checkpoints, self.rate_limiter, self.questions)
        self.budgets: Final = Budgets(database)
        self.interruptions: Final = Interruptions(database, checkpoints, self.calls)
        self.conversations: Final = Conversations(database)
        self.commit_checks: Final = CommitChecks(database, checkpoints)
        self.corrections: Final = Corrections(database, checkpoints)
        self.reviews: Final = Reviews(database, checkpoints)
        self.texts: Final = Texts(database)
        self.repositories: Final = Repositories(database, checkpoints, self.reviews, self.texts)
        self.repository_files: Final = RepositoryFiles(database, checkpoints)
        self.bot_accounts: Final = BotAccounts(database)
        self.catch_up: Final = CatchUpStore(database, counters)
        self.retention: Final = RetentionStore(database)
        self.forgetting: Final = Forgetting(database)
        self.batches: Final = Batches(database)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        skew: Callable[[], timedelta] = no_skew,
        busy_timeout_s: float = 5.0,
        pause: Callable[[float], object] = time.sleep,
    ) -> Self:
        """Open a database; create and migrate its tables if needed. Raises `StoreUnavailable`.

        Waits up to half a minute for a PostgreSQL server that is starting, and calls `pause`
        between two attempts. For tests, `skew` is added to the clock. `busy_timeout_s` is how long
        SQLite waits for a process that is writing.
        """
        ensure_private_file(parse_url(url))
        database = Database(parse_url(url), skew=skew, busy_timeout_s=busy_timeout_s)
        with ExitStack() as on_error:
            on_error.callback(database.close)
            for attempt in range(_CONNECT_ATTEMPTS):
                try:
                    database.prepare()
                    break
                except NotReady as exc:
                    if attempt == 0:
                        log.warning("waiting for the database to start", extra={"why": str(exc)})
                    pause(_CONNECT_RETRY_S)
            else:
                database.prepare()
            migrate(database)
            on_error.pop_all()
        return cls(database)

    def now(self) -> datetime:
        """Return the database's time, aware UTC."""
        return self.database.current_time()

    def close(self) -> None:
        self.database.close()
