"""One place through which the queues speak to Redis: it runs the Lua scripts and turns what Redis says into the desk's own errors.

It must not decide anything and must not retry: whoever calls knows whether a second try does harm. (A lost answer to a claim, tried
again, would leave the first leases to run out.)
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any

import msgspec
from redis import exceptions
from redis.asyncio import Redis

from shared.errors import TemporaryFailure

RETRY_AFTER = 1.0
PASSING = (exceptions.ReadOnlyError, exceptions.OutOfMemoryError, exceptions.ClusterError, exceptions.TryAgainError)
PASSING_WORDS = ("MISCONF", "LOADING", "CLUSTERDOWN", "NOREPLICAS", "UNBLOCKED")


class Script(msgspec.Struct, frozen=True):
    """A Lua script and the name the server knows it by (SHA-1 in hex, as EVALSHA wants it)."""

    text: str
    sha: bytes


def load_script(*names: str) -> Script:
    """The named .lua files of this package, one after the other, as one script."""
    folder = resources.files("shared.queues")
    text = "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in names)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode())


async def call(redis: Redis, *command: str | bytes | int | float) -> Any:
    """Redis's answer to one command. Raises TemporaryFailure while the server is away, full or busy starting; one round trip."""
    client: Any = redis  # redis-py leaves execute_command untyped
    try:
        return await client.execute_command(*command)
    except (exceptions.ConnectionError, exceptions.TimeoutError, *PASSING) as error:
        raise away(error) from error
    except exceptions.ResponseError as error:
        if str(error).startswith(PASSING_WORDS):
            raise away(error) from error
        raise


async def run(redis: Redis, script: Script, *keys_and_args: str | bytes | int | float) -> Any:
    """The answer of a script. The first argument is how many of the others are keys.

    A server that has forgotten the script (restarted, flushed) is given its whole text in a second call that runs it at once, so that
    there is no moment between loading and running in which it could be forgotten again.
    """
    try:
        return await call(redis, "EVALSHA", script.sha, *keys_and_args)
    except exceptions.NoScriptError:
        return await call(redis, "EVAL", script.text, *keys_and_args)


def away(error: Exception) -> TemporaryFailure:
    """The desk's word for a Redis that cannot serve at the moment."""
    return TemporaryFailure(
        f"Redis is not serving ({type(error).__name__}: {error}). Nothing is lost, the ledger refills it. "
        "Check that the server runs and has memory and disk left.",
        retry_after=RETRY_AFTER,
    )


def as_text(value: str | bytes) -> str:
    """A string from Redis, whichever way the client was told to decode."""
    return value.decode() if isinstance(value, bytes) else value
