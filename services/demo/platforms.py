"""The outside world on loopback: a mail relay, WeChat and Telegram, for demo, tests, chaos and benchmarks. Never part of a running desk.

In a test: `async with SmtpPeer() as relay`, `async with HttpPeer(WeChatPlatform()) as http`. As a process of its own:

    python -m services.demo.platforms --smtp-port 0 --http-port 0 --mail-dir var/mails

prints the ports it chose as one JSON line, then serves until SIGTERM or SIGINT. The same HTTP port answers, for those who watch it:
    GET  /peer/mails?since=N      mails from number N on: from, to, subject, message_id, text
    GET  /peer/taken              Message-ID and epoch seconds of each mail that is still kept
    GET  /peer/messages           chat messages by platform
    GET  /peer/counts             how many of each, and every Message-ID that came more than once
    POST /peer/faults             {"smtp": {"busy": 3}, "wechat": {"busy": 1}, "telegram": {...}}: sets the knobs of that name
    POST /peer/expire-tokens, /peer/drop-connections, /peer/clear
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from typing import Any, cast

from services.demo.chat_platforms import ChatMessage, ChatPlatform, TelegramPlatform, WeChatPlatform
from services.demo.http_peer import Answer, HttpPeer, Request
from services.demo.smtp_peer import ReceivedMail, SmtpFaults, SmtpPeer


class Watch:
    """The handler behind /peer/: shows what arrived and turns the knobs of a world that runs in another process."""

    def __init__(self, relay: SmtpPeer, wechat: WeChatPlatform, telegram: TelegramPlatform) -> None:
        self.relay = relay
        self.wechat = wechat
        self.telegram = telegram

    def __call__(self, request: Request) -> Answer | None:
        match request.method, request.path:
            case "GET", "/peer/mails":
                return Answer(self.mails(int(request.query.get("since", "0"))))
            case "GET", "/peer/taken":
                return Answer([[mail.message_id, mail.at] for mail in self.relay.mails])
            case "GET", "/peer/messages":
                return Answer({"wechat": messages(self.wechat), "telegram": messages(self.telegram)})
            case "GET", "/peer/counts":
                return Answer(self.counts())
            case "POST", "/peer/faults":
                return self.set_faults(request.json())
            case "POST", "/peer/expire-tokens":
                self.wechat.expire_tokens()
            case "POST", "/peer/drop-connections":
                self.relay.drop_connections()
            case "POST", "/peer/clear":
                self.relay.clear()
                self.wechat.clear()
                self.telegram.clear()
            case _:
                return None
        return Answer({"done": True})

    def mails(self, since: int) -> list[dict[str, Any]]:
        first = self.relay.count - len(self.relay.mails)
        return [shown(number, mail) for number, mail in enumerate(self.relay.mails, first) if number >= since]

    def counts(self) -> dict[str, Any]:
        repeated = {known: times for known, times in self.relay.message_ids.items() if times > 1}
        return {"mails": self.relay.count, "wechat": self.wechat.count, "telegram": self.telegram.count, "repeated_message_ids": repeated}

    def set_faults(self, asked: dict[str, Any]) -> Answer:
        """Sets each knob by its name; sets come as lists. An unknown one is refused: a fault that never happens proves nothing."""
        places: dict[str, SmtpFaults | ChatPlatform] = {"smtp": self.relay.faults, "wechat": self.wechat, "telegram": self.telegram}
        for name, knobs in asked.items():
            place = places.get(name)
            for knob, value in cast(dict[str, Any], knobs).items():
                if place is None or knob not in vars(place):
                    return Answer({"error": f"there is no knob {name}.{knob}"}, 400)
                setattr(place, knob, set(cast(list[str], value)) if isinstance(value, list) else value)
        return Answer({"done": True})


def shown(number: int, mail: ReceivedMail) -> dict[str, Any]:
    envelope = {"number": number, "from": mail.envelope_from, "to": mail.to}
    return envelope | {"subject": mail.subject, "message_id": mail.message_id, "text": mail.text}


def messages(platform: ChatPlatform) -> list[dict[str, str]]:
    return [message._asdict() for message in platform.messages]


async def serve(smtp_port: int, http_port: int, mail_dir: str) -> None:
    """Runs the world until the process is told to stop; says the ports on one line of standard output."""
    relay = SmtpPeer(port=smtp_port, mail_dir=mail_dir or None)
    wechat, telegram = WeChatPlatform(), TelegramPlatform()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with relay, HttpPeer(Watch(relay, wechat, telegram), wechat, telegram, port=http_port) as http:
        sys.stdout.write(json.dumps({"smtp_port": relay.port, "http_port": http.port, "mail_dir": mail_dir}) + "\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A mail relay, WeChat and Telegram on loopback, to send to without reaching anybody.")
    parser.add_argument("--smtp-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--http-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--mail-dir", default="", help="folder in which every mail is also kept as an .eml file")
    given = parser.parse_args()
    import uvloop

    uvloop.run(serve(given.smtp_port, given.http_port, given.mail_dir))


__all__ = ["ChatMessage", "HttpPeer", "ReceivedMail", "SmtpPeer", "TelegramPlatform", "Watch", "WeChatPlatform", "serve"]

if __name__ == "__main__":
    main()
