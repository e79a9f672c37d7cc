"""Conditions over many keys at once, written so that both databases search the index for each of them.

SQLAlchemy's own `tuple_(...).in_(...)` makes SQLite read the whole table, and its `in_` renders a new statement for each number of keys.
Here the keys travel as one JSON parameter: one statement, prepared once, whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
from sqlalchemy import ColumnElement, String, bindparam, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


def among(column: ColumnElement[Any], keys: Iterable[str]) -> ColumnElement[bool]:
    """column is one of the keys."""
    return _Among(column, literal(_json(list(keys)), String))


def among_parameter(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """column is one of the keys in the parameter of that name, given as `as_parameter(keys)`: for statements built once."""
    return _Among(column, bindparam(name, type_=String))


def pair_among_parameter(first: ColumnElement[Any], second: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """(first, second) is one of the pairs in the parameter of that name, given as `as_parameter(pairs)`."""
    return _PairAmong(first, second, bindparam(name, type_=String))


def as_parameter(keys: Iterable[str] | Iterable[tuple[str, str]]) -> str:
    return _json(list(keys))


def pair_among(first: ColumnElement[Any], second: ColumnElement[Any], keys: Iterable[tuple[str, str]]) -> ColumnElement[bool]:
    """(first, second) is one of the pairs."""
    return _PairAmong(first, second, literal(_json(list(keys)), String))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# Not declared Boolean: SQLite has none, SQLAlchemy would write "... = 1" after it, and that would keep SQLite off the index.
class _Among(GenericFunction[Any]):
    name = "desk_among"
    inherit_cache = True
    sql: ClassVar = {
        "sqlite": "{} IN (SELECT value FROM json_each({}))",
        "postgresql": "{} = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST({} AS JSONB))))",
    }


class _PairAmong(GenericFunction[Any]):
    name = "desk_pair_among"
    inherit_cache = True
    sql: ClassVar = {
        "sqlite": "({}, {}) IN (SELECT value ->> 0, value ->> 1 FROM json_each({}))",
        "postgresql": "({}, {}) IN (SELECT pair ->> 0, pair ->> 1 FROM jsonb_array_elements(CAST({} AS JSONB)) AS pair)",
    }


def _written(element: _Among | _PairAmong, compiler: SQLCompiler, **options: Any) -> str:
    return element.sql[compiler.dialect.name].format(*(compiler.process(clause, **options) for clause in element.clauses))


compiles(_Among)(_written)
compiles(_PairAmong)(_written)
