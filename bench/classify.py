"""How fast and how heavy the classifier is: `python -m bench.classify [LINES]`. One process, one core; prints one JSON object."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def resident_mb() -> float:
    """Resident memory of this process in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def main(count: int) -> None:
    started = time.perf_counter()
    from services.router.classify import NO_HINTS, understand
    from services.router.classify.corpus import expand, families
    from services.router.classify.jsonl import classify_lines
    from shared.policy import load

    policy = load()
    understand("", "快递还没到 hello", "chat", NO_HINTS, policy)
    ready = time.perf_counter() - started
    at_rest = resident_mb()
    texts = [line.text for line in expand(families(), variants=3)]
    lines = [json.dumps({"id": i, "text": texts[i * 7919 % len(texts)] * (1 + i % 3)}, ensure_ascii=False).encode() for i in range(count)]
    started, busy = time.perf_counter(), time.process_time()
    done = sum(1 for answer in classify_lines(lines, policy) if "category" in answer)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    print(
        json.dumps(
            {
                "lines": done,
                "lines_per_second": round(done / seconds),
                "lines_per_core_second": round(done / busy),
                "microseconds_per_line": round(seconds / done * 1e6),
                "mean_characters": round(sum(len(json.loads(line)["text"]) for line in lines) / count),
                "start_seconds": round(ready, 2),
                "resident_mb_at_rest": round(at_rest, 1),
                "resident_mb_after": round(resident_mb(), 1),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
