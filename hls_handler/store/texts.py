"""Texts of repositories, and their full-text search: sections of the documentation, and issues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from sqlalchemy import Connection, bindparam, exists, func, literal_column, select, text

from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, document_indexes, texts
from hls_handler.db.values import HOUR_MS
from hls_handler.handlers.reader import StoredSection
from hls_handler.retrieval.words import rate, split_words, weigh_words
from hls_handler.settings.path_globs import PathFilter

MIN_SCORE = 0.2  # of a section that is shown
MAX_SECTIONS = 3
MAX_RANKED = 50  # texts with the most words of the question, of which `rate` reads all words
ROWS_PER_TRANSACTION = 200  # SQLite has one writer, which others wait for
RANK_CONSTANT = 60  # https://doi.org/10.1145/1571941.1572114

Admits = Callable[[str, str | None], bool]
"""Returns True if a text with a name and a version may be found."""

_t = texts.c
_i = document_indexes.c

_SQLITE_NUMBERS = text("""
    SELECT asked.key AS position, count(*) AS number
    FROM json_each(:queries) asked JOIN texts_words ON texts_words MATCH asked.value
    GROUP BY asked.key
""")
_SQLITE_SCORES = text("""
    SELECT texts.id, name, version
    FROM (
        SELECT texts_words.rowid AS id,
        sum(json_extract(:weights, '$[' || asked.key || ']')) AS score
        FROM json_each(:queries) asked JOIN texts_words ON texts_words MATCH asked.value
        GROUP BY texts_words.rowid
    ) found JOIN texts ON texts.id = found.id
    ORDER BY score DESC, texts.id
""")
_POSTGRESQL_NUMBERS = text("""
    SELECT asked.position - 1 AS position, count(*) AS number
    FROM unnest(CAST(:words AS text[])) WITH ORDINALITY asked(word, position)
    JOIN texts ON scope = :scope
    AND to_tsvector('simple', scope || ' ' || words)
    @@ plainto_tsquery('simple', :scope || ' ' || word)
    GROUP BY asked.position
""")
_POSTGRESQL_SCORES = text("""
    SELECT texts.id, name, version
    FROM unnest(CAST(:words AS text[]), CAST(:weights AS float8[])) asked(word, weight)
    JOIN texts ON scope = :scope
    AND to_tsvector('simple', scope || ' ' || words)
    @@ plainto_tsquery('simple', :scope || ' ' || word)
    GROUP BY texts.id ORDER BY sum(weight) DESC, texts.id
""")


@dataclass(frozen=True, slots=True)
class NewText:
    """A text to store. Its words are those of its name, title and text."""

    name: str
    title: str
    text: str  # cleaned and redacted
    line: int = 0
    end_line: int = 0
    version: str | None = None


@dataclass(frozen=True, slots=True)
class FoundText:
    id: int
    name: str
    title: str
    text: str
    line: int
    end_line: int
    version: str | None
    score: float  # result of `rate`


@dataclass(frozen=True, slots=True)
class DocumentIndex:
    commit: str | None  # None: nothing was read yet
    is_fresh: bool  # read less than an hour ago, and no push came since
    # now (ms); `save_document_index` takes it, so that a push during the reading counts as new
    checked_at: int


def document_scope(repository_id: int) -> str:
    return f"document{repository_id}"


def issue_scope(repository_id: int) -> str:
    return f"issue{repository_id}"


class Texts:
    def __init__(self, database: Database) -> None:
        self._database = database
        is_named = database.is_one_of(_t.name, "names")
        self._delete = texts.delete().where(_t.scope == bindparam("of_scope"), is_named)

    def document_index(self, repository_id: int, repository: str) -> DocumentIndex:
        """Return which commit's documentation is stored. `repository` is its name: "owner/repo"."""
        d = deliveries.c
        pushed = exists().where(
            d.repository == repository,
            d.event == literal_column("'push'"),
            d.received_at >= _i.checked_at,
        )
        query = select(_i.commit_sha, _i.checked_at, pushed).where(
            _i.repository_id == repository_id
        )
        with self._database.reading() as connection:
            now = self._database.now_in(connection)
            row = connection.execute(query).first()
        if row is None:
            return DocumentIndex(None, is_fresh=False, checked_at=now)
        commit, checked_at, is_pushed = row
        return DocumentIndex(
            commit, is_fresh=abs(now - checked_at) < HOUR_MS and not is_pushed, checked_at=now
        )

    def save_document_index(self, repository_id: int, commit: str | None, checked_at: int) -> None:
        """Record when the documentation was read. `commit` is the one that is stored."""
        save = self._database.upsert(document_indexes, "commit_sha", "checked_at")
        with self._database.writing() as connection:
            row = {"repository_id": repository_id, "commit_sha": commit, "checked_at": checked_at}
            connection.execute(save.values(row))

    def update_statistics(self) -> None:
        """Call this after many texts were stored: without it, a search of PostgreSQL takes up to 18
        s until autovacuum.

        Then PostgreSQL reads all texts for each word.
        """
        if self._database.file is None:
            with self._database.writing() as connection:
                connection.execute(text("ANALYZE texts"))

    def versions(self, scope: str) -> Mapping[str, str | None]:
        """Return the version of each name; None if only a part of its texts is stored."""
        query = (
            select(_t.name, func.min(_t.version).label("version"))
            .where(_t.scope == scope)
            .group_by(_t.name)
        )
        with self._database.reading() as connection:
            return {row.name: row.version for row in connection.execute(query)}

    def load(self, scope: str) -> Mapping[int, str]:
        """Return title and text of all texts, by their ids."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_t.id, _t.title, _t.text).where(_t.scope == scope))
            return {row.id: f"{row.title}\n{row.text}" for row in rows}

    def replace(self, scope: str, names: Iterable[str], new: Iterable[NewText]) -> None:
        """Delete the texts with the names, and those with the names of new ones, and store the new
        ones.

        Only the last text of a name gets its version, so that a name of which a part was stored has
        none.
        """
        added = list(new)
        last = {text.name: text for text in added}
        # in this order no text is stored before its name is deleted
        gone = [*dict.fromkeys([*last, *names])]
        for start in range(0, max(len(gone), len(added)), ROWS_PER_TRANSACTION):
            part = slice(start, start + ROWS_PER_TRANSACTION)
            rows = [
                {
                    **asdict(text),
                    "scope": scope,
                    "words": " ".join(split_words(f"{text.name} {text.title} {text.text}")),
                    "version": text.version if text is last[text.name] else None,
                }
                for text in added[part]
            ]
            with self._database.writing() as connection:
                connection.execute(self._delete, {"of_scope": scope, "names": gone[part]})
                self._database.insert_rows(connection, texts, rows, if_new=True)

    def find_sections(
        self,
        repository_id: int,
        words: Sequence[str],
        ignored: PathFilter,
        nearest: Sequence[int] = (),
    ) -> tuple[StoredSection, ...]:
        """Return up to three sections of the documentation that fit a question, best first.

        `nearest` are the ids of those that fit it by their meaning, best first. Ids of other texts
        have no effect.
        """
        scope = document_scope(repository_id)
        with self._database.reading() as connection:
            scored = self._search(
                connection, scope, words, lambda name, _: not ignored.excludes(name)
            )
            by_words = [section for section in scored if section.score >= MIN_SCORE]
            loaded = self._load(connection, scope, nearest, {}) if nearest else []
            by_meaning = [section for section in loaded if not ignored.excludes(section.name)]
            fitting = {section.id: section for section in (*by_words, *by_meaning)}
            if not fitting:
                return ()
            is_of_repository = _i.repository_id == repository_id
            commit = connection.execute(
                select(_i.commit_sha).where(is_of_repository)
            ).scalar_one_or_none()
        rankings = [section.id for section in by_words], [key for key in nearest if key in fitting]
        best = [fitting[key] for key in _merge_ranks(*rankings)[:MAX_SECTIONS]]
        return tuple(
            StoredSection(
                section.name,
                section.title,
                section.line,
                section.end_line,
                section.text,
                commit or "",
            )
            for section in best
        )

    def search(
        self, scope: str, words: Sequence[str], admits: Admits = lambda *_: True
    ) -> tuple[FoundText, ...]:
        """Return the texts that fit a question, best first; at most 50. `words` are the result of
        `question_words`.
        """
        with self._database.reading() as connection:
            return self._search(connection, scope, words, admits)

    def _search(
        self, connection: Connection, scope: str, words: Sequence[str], admits: Admits
    ) -> tuple[FoundText, ...]:
        total = connection.execute(select(func.count()).where(_t.scope == scope)).scalar_one()
        if not total or not words:
            return ()
        weights = weigh_words(words, self._count_texts(connection, scope, words), total)
        chosen = self._choose(connection, scope, weights, admits)
        loaded = self._load(connection, scope, chosen, weights)
        return tuple(sorted(loaded, key=lambda text: text.score, reverse=True))

    def _load(
        self, connection: Connection, scope: str, ids: Sequence[int], weights: Mapping[str, float]
    ) -> list[FoundText]:
        query = select(
            _t.id, _t.name, _t.title, _t.text, _t.line, _t.end_line, _t.version, _t.words
        )
        rows = connection.execute(query.where(_t.scope == scope, _t.id.in_(ids)).order_by(_t.id))
        return [FoundText(*row[:-1], score=rate(row.words, weights)) for row in rows]

    def _count_texts(
        self, connection: Connection, scope: str, words: Sequence[str]
    ) -> dict[str, int]:
        """Return the number of texts with each word, for the words that some text has."""
        if self._database.file is not None:
            counted = connection.execute(_SQLITE_NUMBERS, {"queries": _queries(scope, words)})
        else:
            counted = connection.execute(
                _POSTGRESQL_NUMBERS, {"scope": scope, "words": list(words)}
            )
        return {words[position]: number for position, number in counted}

    def _choose(
        self, connection: Connection, scope: str, weights: Mapping[str, float], admits: Admits
    ) -> list[int]:
        """Return the ids of the admitted texts whose words have the largest sums of weights."""
        words = list(weights)
        values = list(weights.values())
        if self._database.file is not None:
            terms = {"queries": _queries(scope, words), "weights": json.dumps(values)}
            rows = connection.execute(_SQLITE_SCORES, terms)
        else:
            rows = connection.execute(
                _POSTGRESQL_SCORES, {"scope": scope, "words": words, "weights": values}
            )
        with rows:
            return list(
                islice((row.id for row in rows if admits(row.name, row.version)), MAX_RANKED)
            )


def _queries(scope: str, words: Sequence[str]) -> str:
    """Return the JSON list of FTS5 queries, each for the texts of a scope with one word."""
    return json.dumps([f'scope:"{scope}" AND words:"{word}"' for word in words])


def _merge_ranks(*rankings: Sequence[int]) -> list[int]:
    """Return the keys of the rankings, the best first, by reciprocal rank fusion."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for place, key in enumerate(ranking, start=RANK_CONSTANT + 1):
            scores[key] = scores.get(key, 0.0) + 1 / place
    return sorted(scores, key=lambda key: scores[key], reverse=True)
