"""How many mails a second the SMTP sender hands to a relay, over one and four connections, and how fast two relays on loopback take them.

    python -m bench.senders [--mails 3000] [--json]

The relay runs in a process of its own: ours (services/demo/smtp_peer.py) and, for comparison, aiosmtpd. "raw" is a sender without any
protocol cost (prepared bytes, pipelined), so that it shows the relay's own limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time

import uvloop

from bench.compose import DESK, SECRET, notice
from services.notifier.compose import compose
from services.notifier.mime import render_mail
from services.notifier.sender import Letter
from services.notifier.senders.smtp import SmtpSender

AIOSMTPD = """
import asyncio, json
from aiosmtpd.smtp import SMTP
class Take:
    async def handle_DATA(self, server, session, envelope):
        return "250 taken"
async def main():
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(Take(), hostname="loopback"), "127.0.0.1", 0)
    print(json.dumps({"smtp_port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()
import uvloop
uvloop.run(main())
"""
OURS = ("-m", "services.demo.platforms")
THEIRS = ("-c", AIOSMTPD)


async def through_sender(letters: list[Letter], port: int, connections: int) -> float:
    sender = SmtpSender()
    await sender.open({"from": DESK.mail_from, "host": "127.0.0.1", "port": str(port), "connections": str(connections), "hello": "bench"})
    waiting = iter(letters)

    async def work() -> None:
        for letter in waiting:
            await sender.send(letter)

    await sender.send(letters[0])
    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    taken = time.perf_counter() - started
    await sender.close()
    return len(letters) / taken


async def raw(letters: list[Letter], port: int, connections: int) -> float:
    """Whole transactions written at once on each connection, answers only counted."""
    mails = [render_mail(letter, DESK.mail_from) for letter in letters]
    begin = b"MAIL FROM:<care@shop.example>\r\nRCPT TO:<customer@mail.example>\r\nDATA\r\n"
    waiting = iter(mails)

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.readline()
        writer.write(b"HELO bench\r\n")
        await reader.readline()
        for mail in waiting:
            writer.write(begin)
            for _ in range(3):
                await reader.readline()
            writer.write(mail + b"\r\n.\r\n")
            await reader.readline()
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    return len(letters) / (time.perf_counter() - started)


def with_relay(command: tuple[str, str], run: object, letters: list[Letter], connections: int) -> float:
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as relay:
        try:
            assert relay.stdout is not None
            port = json.loads(relay.stdout.readline())["smtp_port"]
            return uvloop.run(run(letters, port, connections))  # type: ignore[operator] # one of the two functions above
        finally:
            relay.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mails", type=int, default=3000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    letters = [compose(notice(number), desk=DESK, secret=SECRET) for number in range(given.mails)]
    figures = {
        "mails sent/s, 1 connection": with_relay(OURS, through_sender, letters, 1),
        "mails sent/s, 4 connections": with_relay(OURS, through_sender, letters, 4),
        "mails sent/s, 4 connections, to aiosmtpd": with_relay(THEIRS, through_sender, letters, 4),
        "relay takes/s, raw": with_relay(OURS, raw, letters, 4),
        "relay takes/s, raw, aiosmtpd": with_relay(THEIRS, raw, letters, 4),
    }
    if given.json:
        print(json.dumps({name: round(value) for name, value in figures.items()}))
    else:
        for name, value in figures.items():
            print(f"{name:44}{value:>8,.0f}")


if __name__ == "__main__":
    main()
