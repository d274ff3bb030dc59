"""Texts of repositories, and their full-text search: sections of the documentation, and issues."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select, text

from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, document_indexes, texts
from hls_handler.db.values import HOUR_MS
from hls_handler.retrieval.words import join_words, weigh_words

ROWS_PER_TRANSACTION = 200  # SQLite has one writer, which others wait for

_t, _i = texts.c, document_indexes.c

_SQLITE_NUMBERS = text("""
    SELECT asked.key AS position, count(*) AS number
    FROM json_each(:queries) asked JOIN texts_words ON texts_words MATCH asked.value
    GROUP BY asked.key
""")
_SQLITE_SCORES = text("""
    SELECT texts_words.rowid AS id, sum(json_extract(:weights, '$[' || asked.key || ']')) AS score
    FROM json_each(:queries) asked JOIN texts_words ON texts_words MATCH asked.value
    GROUP BY texts_words.rowid ORDER BY score DESC, texts_words.rowid LIMIT :most
""")
_POSTGRESQL_NUMBERS = text("""
    SELECT asked.position - 1 AS position, count(texts.id) AS number
    FROM unnest(CAST(:words AS text[])) WITH ORDINALITY asked(word, position)
    LEFT JOIN texts ON scope = :scope AND to_tsvector('english', words) @@ plainto_tsquery('english', word)
    WHERE numnode(plainto_tsquery('english', word)) > 0
    GROUP BY asked.position
""")
_POSTGRESQL_SCORES = text("""
    SELECT texts.id, sum(weight) AS score
    FROM unnest(CAST(:words AS text[]), CAST(:weights AS float8[])) asked(word, weight)
    JOIN texts ON scope = :scope AND to_tsvector('english', words) @@ plainto_tsquery('english', word)
    GROUP BY texts.id ORDER BY score DESC, texts.id LIMIT :most
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
    name: str
    title: str
    text: str
    line: int
    end_line: int
    version: str | None
    score: float  # the share of the question's words that it contains, by their weights


@dataclass(frozen=True, slots=True)
class DocumentIndex:
    commit: str | None  # None: nothing was read yet
    is_fresh: bool  # read less than an hour ago, and no push came since


def document_scope(repository_id: int) -> str:
    return f"document{repository_id}"


def issue_scope(repository_id: int) -> str:
    return f"issue{repository_id}"


class Texts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def document_index(self, repository_id: int, repository: str) -> DocumentIndex:
        """Return which commit's documentation is stored. `repository` is its name: "owner/repo"."""
        d = deliveries.c
        pushed = exists().where(
            d.repository == repository, d.number.is_(None), d.event == "push", d.received_at >= _i.checked_at
        )
        query = select(_i.commit_sha, self._database.now - _i.checked_at, pushed)
        with self._database.reading() as connection:
            found = connection.execute(query.where(_i.repository_id == repository_id)).first()
        if found is None:
            return DocumentIndex(None, is_fresh=False)
        commit, age_ms, is_pushed = found
        return DocumentIndex(commit, is_fresh=abs(age_ms) < HOUR_MS and not is_pushed)

    def save_document_index(self, repository_id: int, commit: str | None) -> None:
        """Record that the documentation was read now. `commit` is the one that is stored."""
        save = self._database.upsert(document_indexes, "commit_sha", "checked_at")
        with self._database.writing() as connection:
            row = {"repository_id": repository_id, "commit_sha": commit, "checked_at": self._database.now}
            connection.execute(save.values(row))

    def versions(self, scope: str) -> Mapping[str, str]:
        """Return the version of each name."""
        query = select(_t.name, func.min(_t.version).label("version")).where(_t.scope == scope).group_by(_t.name)
        with self._database.reading() as connection:
            return {row.name: row.version for row in connection.execute(query)}

    def replace(self, scope: str, names: Iterable[str], new: Iterable[NewText]) -> None:
        """Delete the texts with the names, then store new ones. All texts of one name are in one transaction."""
        by_name: dict[str, list[NewText]] = {name: [] for name in names}
        for one in new:
            by_name.setdefault(one.name, []).append(one)
        batch: dict[str, list[NewText]] = {}
        for name, rows in by_name.items():
            batch[name] = rows
            if sum(map(len, batch.values())) + len(batch) >= ROWS_PER_TRANSACTION:
                self._replace(scope, batch)
                batch = {}
        if batch:
            self._replace(scope, batch)

    def _replace(self, scope: str, batch: Mapping[str, Sequence[NewText]]) -> None:
        rows = [
            {
                "scope": scope,
                "name": one.name,
                "line": one.line,
                "end_line": one.end_line,
                "title": one.title,
                "text": one.text,
                "words": join_words([one.name, one.title, one.text]),
                "version": one.version,
            }
            for new in batch.values()
            for one in new
        ]
        with self._database.writing() as connection:
            delete = texts.delete().where(_t.scope == scope, self._database.is_one_of(_t.name, "names"))
            connection.execute(delete, {"names": list(batch)})
            self._database.insert_rows(connection, texts, rows, if_new=True)

    def search(self, scope: str, words: Collection[str], *, most: int) -> tuple[FoundText, ...]:
        """Return the texts that contain most of a question, best first."""
        with self._database.reading() as connection:
            total = connection.execute(select(func.count()).where(_t.scope == scope)).scalar_one()
            weights = weigh_words(self._count_texts(connection, scope, list(words)), total) if total and words else {}
            if not weights:
                return ()
            scores = self._add_weights(connection, scope, weights, most)
            query = select(_t.id, _t.name, _t.title, _t.text, _t.line, _t.end_line, _t.version)
            found = connection.execute(query.where(_t.id.in_(scores))).all()
        ranked = sorted(found, key=lambda row: (-scores[row.id], row.id))
        return tuple(FoundText(*row[1:], score=scores[row.id]) for row in ranked)

    def _count_texts(self, connection: Connection, scope: str, words: Sequence[str]) -> dict[str, int]:
        """Return the number of texts with each word, without the stop words of PostgreSQL."""
        if self._database.file is not None:
            counted = connection.execute(_SQLITE_NUMBERS, {"queries": _queries(scope, words)})
            return dict.fromkeys(words, 0) | {words[position]: number for position, number in counted}
        counted = connection.execute(_POSTGRESQL_NUMBERS, {"scope": scope, "words": list(words)})
        return {words[position]: number for position, number in counted}

    def _add_weights(
        self, connection: Connection, scope: str, weights: Mapping[str, float], most: int
    ) -> dict[int, float]:
        values = list(weights.values())
        if self._database.file is not None:
            terms = {"queries": _queries(scope, list(weights)), "weights": json.dumps(values), "most": most}
            found = connection.execute(_SQLITE_SCORES, terms)
        else:
            terms = {"scope": scope, "words": list(weights), "weights": values, "most": most}
            found = connection.execute(_POSTGRESQL_SCORES, terms)
        return {row.id: row.score for row in found}


def _queries(scope: str, words: Sequence[str]) -> str:
    """Return the JSON list of FTS5 queries, each for the texts of a scope with one word."""
    return json.dumps([f'scope:"{scope}" AND words:"{word}"' for word in words])
