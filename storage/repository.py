"""How a repository's methods reach the database: each runs in its thread, as one transaction."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlite_utils import Database as Connection

from engine.ports import Clock
from storage.database import Database

P = ParamSpec("P")
R = TypeVar("R", bound="Repository")
T = TypeVar("T")


class Repository:
    """Tables that belong together.

    Args:
        database: with its writer and its reader thread.
        wall: the machine's clock, which times deliveries.
    """

    def __init__(self, database: Database, wall: Clock) -> None:
        self.database, self.wall = database, wall


def read(query: Callable[Concatenate[R, Connection, P], T]) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    """Turn a query into a method that runs it on the reader's connection.

    Raises:
        StorageError: when SQLite refuses.
    """

    @functools.wraps(query)
    async def method(repository: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await repository.database.read(lambda db: query(repository, db, *args, **kwargs))

    return method


def write(work: Callable[Concatenate[R, Connection, P], T]) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    """Turn work into a method that runs it in one transaction: all of it is stored or nothing.

    Raises:
        StorageError: when SQLite refuses.
    """

    @functools.wraps(work)
    async def method(repository: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await repository.database.write(lambda db: work(repository, db, *args, **kwargs))

    return method
