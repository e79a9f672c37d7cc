"""Conditions over many keys at once, written so that both databases search the index for each of them.

SQLAlchemy's own `tuple_(...).in_(...)` makes SQLite read the whole table, and its `in_` renders a new statement for each number of keys.
Here the keys travel as one JSON parameter: one statement, prepared once, whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Boolean, ColumnElement, String, bindparam, literal, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


def among(column: ColumnElement[Any], keys: Iterable[str]) -> ColumnElement[bool]:
    """column is one of the keys."""
    return column.op("IN", return_type=Boolean())(_Keys(literal(_json(list(keys)), String)))


def among_parameter(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """column is one of the keys in the parameter of that name, given as `as_parameter(keys)`: for statements built once."""
    return column.op("IN", return_type=Boolean())(_Keys(bindparam(name, type_=String)))


def pair_among_parameter(first: ColumnElement[Any], second: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """(first, second) is one of the pairs in the parameter of that name, given as `as_parameter(pairs)`."""
    return tuple_(first, second).op("IN", return_type=Boolean())(_Pairs(bindparam(name, type_=String)))


def as_parameter(keys: Iterable[str] | Iterable[tuple[str, str]]) -> str:
    return _json(list(keys))


def pair_among(first: ColumnElement[Any], second: ColumnElement[Any], keys: Iterable[tuple[str, str]]) -> ColumnElement[bool]:
    """(first, second) is one of the pairs."""
    return tuple_(first, second).op("IN", return_type=Boolean())(_Pairs(literal(_json(list(keys)), String)))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class _Keys(GenericFunction[Any]):
    name = "desk_keys"
    inherit_cache = True


class _Pairs(GenericFunction[Any]):
    name = "desk_pairs"
    inherit_cache = True


KEYS = {
    "sqlite": "(SELECT value FROM json_each({}))",
    "postgresql": "(SELECT jsonb_array_elements_text(CAST({} AS JSONB)))",
}
PAIRS = {
    "sqlite": "(SELECT value ->> 0, value ->> 1 FROM json_each({}))",
    "postgresql": "(SELECT pair ->> 0, pair ->> 1 FROM jsonb_array_elements(CAST({} AS JSONB)) AS pair)",
}


def _keys(element: _Keys, compiler: SQLCompiler, **options: Any) -> str:
    return KEYS[compiler.dialect.name].format(compiler.process(element.clauses, **options))


def _pairs(element: _Pairs, compiler: SQLCompiler, **options: Any) -> str:
    return PAIRS[compiler.dialect.name].format(compiler.process(element.clauses, **options))


compiles(_Keys)(_keys)
compiles(_Pairs)(_pairs)
