"""Access: the API key is exchanged for access tokens, which can be made to expire."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

LIFETIME_SECONDS = 3600


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Tokens:
    """Hands out and checks access tokens. They outlive a restart of the service."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._generation = 0
        self._closed = False

    def issue(self, key: str) -> dict[str, Any] | None:
        """IAM's reply for an API key, or None if the key is not valid (any more)."""
        if self._closed or not hmac.compare_digest(key.encode(), self.key.encode()):
            return None
        now = int(time.time())
        expiration = now + LIFETIME_SECONDS
        claims = {"iat": now, "exp": expiration, "iam_id": "loopback", "generation": self._generation}
        parts = [{"alg": "HS256", "typ": "JWT"}, claims]
        signed = ".".join(_encode(json.dumps(part).encode()) for part in parts)
        return {
            "access_token": f"{signed}.{self._signature(signed)}",
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "expiration": expiration,
            "scope": "ibm openid",
        }

    def accepts(self, authorization: str) -> bool:
        """Whether the value of an `Authorization` header gives access."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "apikey":
            # The client sends the key itself when it gets no access token.
            return not self._closed and hmac.compare_digest(value.encode(), self.key.encode())
        signed, _, signature = value.rpartition(".")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            signature.encode(), self._signature(signed).encode()
        ):
            return False
        claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        return claims["generation"] >= self._generation and claims["exp"] > time.time()

    def expire(self, *, for_good: bool = False) -> None:
        """Refuse every access token handed out so far; `for_good` refuses the key too."""
        self._generation += 1
        self._closed = self._closed or for_good

    def _signature(self, signed: str) -> str:
        return _encode(hmac.digest(self.key.encode(), signed.encode(), hashlib.sha256))
