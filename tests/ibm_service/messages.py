"""A request as the service sees it, and its reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One HTTP request. `path` lies below the API base if it is for the API; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    for_api: bool = True

    def first(self, name: str) -> str | None:
        """The first value of a query field, or None."""
        values = self.query.get(name)
        return values[0] if values else None

    def json(self) -> Any:
        """The body, decoded; raises `Refusal` if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Refusal(400, 1000, f"The request body is not JSON: {error}") from error


@dataclass(frozen=True)
class Reply:
    """One HTTP reply. Text is sent as it is, anything else as JSON, None as an empty body."""

    status: int = 200
    content: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[str, bytes]:
        """Content type and body."""
        if self.content is None:
            return "application/json", b""
        if isinstance(self.content, str):
            return "text/plain; charset=utf-8", self.content.encode()
        return "application/json", json.dumps(self.content).encode()


class Refusal(Exception):
    """A request that the service refuses: HTTP status, error code and message."""

    def __init__(
        self, status: int, code: int, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        content = {"errors": [{"code": code, "message": message}], "trace": "loopback"}
        self.reply = Reply(status, content, headers or {})
