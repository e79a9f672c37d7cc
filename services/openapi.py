"""How the services describe their HTTP interfaces: OpenAPI 3.1 as JSON, and one plain page of it that needs nothing from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Components, OpenAPIMediaType, Operation, Parameter, RequestBody, SecurityScheme

VERSION = "1"
JSON = "application/json"
METHODS = ("get", "post", "put", "patch", "delete")
KEYED: list[dict[str, list[str]]] = [{"api_key": []}]
"""`security=KEYED` marks a route that wants an API key."""

_pages = Environment(
    loader=PackageLoader("services", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def describe(title: str, description: str) -> OpenAPIConfig:
    """The OpenAPI settings of one service: JSON at /schema/openapi.json, the page at /schema."""
    return OpenAPIConfig(
        title=title,
        version=VERSION,
        description=description,
        path="/schema",
        use_handler_docstrings=True,
        render_plugins=[PlainPage(path="/"), JsonRenderPlugin()],
        components=Components(
            security_schemes={"api_key": SecurityScheme(type="http", scheme="bearer", description="An API key, made with `desk keys add`.")}
        ),
    )


def documented(*, body: dict[str, Any] | None = None, parameters: tuple[Parameter, ...] = ()) -> type[Operation]:
    """An operation class for routes that read the request themselves: what such a route takes cannot be seen in its signature.

    body: media type -> OpenAPI media type object ({"schema": ..., "examples": ...}).
    """

    @dataclass
    class Documented(Operation):
        def __post_init__(self) -> None:
            if body:
                self.request_body = RequestBody(content=cast("dict[str, OpenAPIMediaType]", body), required=True)
            self.parameters = [*(self.parameters or []), *parameters] or None

    return Documented


def json_body(kind: Any, **examples: Any) -> dict[str, Any]:
    """The media type object of a JSON body of that type, with named examples."""
    return {JSON: {"schema": inlined(kind), "examples": {name: {"value": value} for name, value in examples.items()}}}


def inlined(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a type with everything it refers to written out in place."""
    schemas, parts = msgspec.json.schema_components((kind,), ref_template="#/{name}")

    def resolve(node: Any) -> Any:
        match node:
            case {"$ref": str(name)}:
                return resolve(parts[name.removeprefix("#/")])
            case {**entries}:
                return {key: resolve(value) for key, value in entries.items()}
            case [*entries]:
                return [resolve(entry) for entry in entries]
            case _:
                return node

    return resolve(schemas[0])


class PlainPage(OpenAPIRenderPlugin):
    """The whole description on one page, made on the server: no script, no font, no file from another host."""

    def render(self, request: Any, openapi_schema: dict[str, Any]) -> bytes:
        del request
        operations = [
            {"path": path, "method": method, **operation}
            for path, item in sorted(openapi_schema["paths"].items())
            for method, operation in item.items()
            if method in METHODS
        ]
        tags = sorted({tag for operation in operations for tag in operation.get("tags", ["other"])})
        page = _pages.get_template("schema.html").render(info=openapi_schema["info"], operations=operations, tags=tags, pretty=_pretty)
        return page.encode()


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
