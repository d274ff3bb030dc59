"""The store: everything that must survive, in one database, SQLite or PostgreSQL. The only room that knows SQL."""

from hls_handler.store.backup import back_up
from hls_handler.store.bell import Bell
from hls_handler.store.calls import CLAUDE_PACE, UNAVAILABLE
from hls_handler.store.corrections import Noted
from hls_handler.store.counters import BUCKETS_S, FieldFeedback, feedback_in
from hls_handler.store.files import database_exists, hold_exclusively, is_shared
from hls_handler.store.group import AcceptQueue
from hls_handler.store.memory import ThreadKnowledge, ThreadMemory
from hls_handler.store.pauses import Pause
from hls_handler.store.repository_files import KnownFile
from hls_handler.store.rows import CallRow, DeliveryRow, PromptRow, QueueFigures
from hls_handler.store.steps import Keepable, Posted
from hls_handler.store.store import Store
from hls_handler.store.threads import Later

__all__ = [
    "BUCKETS_S",
    "CLAUDE_PACE",
    "UNAVAILABLE",
    "AcceptQueue",
    "Bell",
    "CallRow",
    "DeliveryRow",
    "FieldFeedback",
    "Keepable",
    "KnownFile",
    "Later",
    "Noted",
    "Pause",
    "Posted",
    "PromptRow",
    "QueueFigures",
    "Store",
    "ThreadKnowledge",
    "ThreadMemory",
    "back_up",
    "database_exists",
    "feedback_in",
    "hold_exclusively",
    "is_shared",
]
