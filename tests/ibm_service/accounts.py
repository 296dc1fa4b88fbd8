"""What lies beside the API: access tokens, the account's instances, the plans."""

from __future__ import annotations

from urllib.parse import parse_qs

from .messages import Refusal, Reply, Request
from .tokens import Tokens

INSTANCE = "crn:v1:bluemix:public:quantum-computing:us-east:a/loopback:instance::"
PLAN = "loopback-plan"


class Accounts:
    """IAM, Global Search and Global Catalog, as far as the client asks them."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def answer(self, request: Request) -> Reply:
        """Carry out a request; raises `Refusal`."""
        match request.method, request.path:
            case "POST", "/identity/token":
                return self._token(request)
            case "POST", "/v3/resources/search":
                self.check(request)
                item = {
                    "crn": INSTANCE,
                    "name": "loopback",
                    "service_plan_unique_id": PLAN,
                    "tags": [],
                    # The client skips an instance without an allocation.
                    "doc": {"extensions": [{"name": "backends"}]},
                }
                return Reply(content={"items": [item], "limit": 100})
            case "GET", "/catalog/loopback-plan":
                content = {
                    "overview_ui": {"en": {"display_name": "Loopback"}},
                    "metadata": {"pricing": {"type": "free"}},
                }
                return Reply(content=content)
        raise Refusal(404, 1000, f"Nothing is offered at {request.path}.")

    def check(self, request: Request) -> None:
        """Raise `Refusal` without a valid token."""
        if not self._tokens.accepts(request.headers.get("authorization", "")):
            raise Refusal(401, 1200, "Unauthorized: the access token is missing, expired or wrong.")

    def _token(self, request: Request) -> Reply:
        form = parse_qs(request.body.decode())
        token = self._tokens.issue(form.get("apikey", [""])[0])
        if token is None:
            message = "Provided API key could not be found."
            return Reply(400, {"errorCode": "BXNIM0415E", "errorMessage": message})
        return Reply(content=token)
