"""Looks whether a service may listen where its settings say, before anything else starts. Opens nothing for good."""

from __future__ import annotations

import errno
import socket

from shared.errors import ConfigError


def check_free(host: str, port: int, setting: str) -> None:
    """Raises ConfigError where nobody can listen there. The web server itself would share the port with another one of its kind."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is left of a process that was killed does not count
            probe.bind(address)
    except OSError as error:
        why = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigError(f"Cannot listen on {host}:{port}: {why}. Stop that program, or set {setting} to a free port.") from error
