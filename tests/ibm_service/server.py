"""The service as tests hold it."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from .accounts import INSTANCE, Accounts
from .api import Api
from .devices import make_devices
from .faults import Fault, FaultBox
from .listener import API, Listener
from .messages import Refusal, Reply, Request
from .rules import Rules
from .runner import Runner
from .store import Store, StoredJob
from .tokens import Tokens

NO_REPLY = 0


class LoopbackService:
    """A service on this machine. Use it in a `with` statement; its jobs lie in `folder`."""

    def __init__(
        self,
        folder: Path,
        devices: Iterable[str] = ("fake_manila",),
        rules: Rules | None = None,
        faults: Iterable[Fault] = (),
        *,
        port: int = 0,
    ) -> None:
        self.token = "loopback-key"
        self.instance = INSTANCE
        self.requests: list[tuple[str, str, int]] = []
        """Method, path and status of each request so far; status 0 where no reply was sent."""
        rules = Rules() if rules is None else rules
        self._devices = make_devices(tuple(devices), rules.offline)
        self._store = Store(folder)
        self._tokens = Tokens(self.token)
        self._accounts = Accounts(self._tokens)
        self._api = Api(self._store, self._devices, rules)
        self._runner = Runner(self._store, self._devices, rules)
        self._faults = FaultBox(faults)
        self._closing = threading.Event()
        self._listener = Listener(port, self.answer)

    def __enter__(self) -> LoopbackService:
        self._runner.start()
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the service. Connections are cut, and what is stored stays."""
        self._closing.set()
        self._listener.stop()
        self._runner.stop()

    @property
    def url(self) -> str:
        """Base of the API."""
        return self._base + API

    @property
    def _base(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_port}"

    def environment(self) -> dict[str, str]:
        """Environment variables that lead an unmodified client here."""
        return {
            "QISKIT_IBM_TOKEN": self.token,
            "QISKIT_IBM_INSTANCE": self.instance,
            "QISKIT_IBM_URL": self.url,
            "IAM_URL": self._base,
            "GLOBAL_SEARCH_URL": self._base,
            "GLOBAL_CATALOG_URL": f"{self._base}/catalog",
        }

    def jobs(self) -> list[StoredJob]:
        """All jobs as they are stored, the oldest first, whatever the listings show."""
        return self._store.jobs()

    def inject(self, fault: Fault) -> None:
        self._faults.put(fault)

    def cancel_next(self) -> None:
        """The next job to be run comes out cancelled."""
        self._runner.cancel_next()

    def expire_token(self, *, for_good: bool = False) -> None:
        """Refuse the access tokens handed out so far with 401; `for_good` refuses the API key too."""
        self._tokens.expire(for_good=for_good)

    def answer(self, request: Request) -> Reply | None:
        """The reply to a request, or None if the connection is to be closed without one."""
        fault = self._faults.take(request.method, request.path)
        reply = self._carry_out(request, fault)
        self.requests.append((request.method, request.path, NO_REPLY if reply is None else reply.status))
        return reply

    def _carry_out(self, request: Request, fault: Fault | None) -> Reply | None:
        if fault is None:
            return self._reply(request)
        if fault.kind == "status":
            headers = {} if fault.retry_after is None else {"Retry-After": str(math.ceil(fault.retry_after))}
            return Reply(fault.status, {"errors": [{"code": fault.status, "message": "Injected."}]}, headers)
        if fault.kind == "lose_reply":
            self._reply(request)
        elif fault.kind == "hang":
            self._closing.wait(fault.hang_seconds)
        return None

    def _reply(self, request: Request) -> Reply:
        try:
            if not request.for_api:
                return self._accounts.answer(request)
            self._accounts.check(request)
            if request.headers.get("service-crn") != self.instance:
                raise Refusal(403, 1200, "The instance in Service-CRN is not one of this account.")
            return self._api.answer(request)
        except Refusal as refusal:
            return refusal.reply
        except Exception as error:
            return Reply(
                500, {"errors": [{"code": 1000, "message": f"Error of the loopback service: {error!r}"}]}
            )
