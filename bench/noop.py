"""The yardstick of `accept`: a Litestar endpoint that decodes the same form and does nothing, served exactly as a service is.

python -m bench.noop PORT
"""

from __future__ import annotations

import sys

import uvloop
from litestar import Litestar, post

from services.intake.adapters.web_form import WebForm
from services.process import web_server


@post("/noop", status_code=202)
async def noop(data: WebForm) -> dict[str, str]:  # noqa: ARG001 - decoding it is what is measured
    """Litestar reads the form into the struct that the web form's adapter reads it into."""
    return {
        "reference": "C261121-7K3QXP",
        "outcome": "accepted",
        "tracking_url": "http://127.0.0.1:8080/track/" + "0" * 48,
        "locale": "zh-CN",
    }


async def main(port: int) -> None:
    app = Litestar([noop], openapi_config=None, logging_config=None)
    await web_server(app, ("127.0.0.1", port)).serve()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
