"""The service behind a device: submit, find, watch, fetch, cancel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from hybrid.devices.jobs import Job
from hybrid.devices.runner import bits_of, sampler_pubs
from hybrid.ibm.errors import NoAccount, UnknownDevice, http_status, in_short
from hybrid.ibm.options import checked_options, twirled_evenly

JobState = Literal["waiting", "done", "failed", "cancelled"]
Mode = Literal["job", "batch", "session"]
OWN_TAG = "qtn-hybrid"
T = TypeVar("T")
_UNAUTHORIZED = 401
_STATES: Mapping[str, JobState] = {"DONE": "done", "ERROR": "failed", "CANCELLED": "cancelled"}


class AbstractService(ABC):
    """A place that runs jobs for money. Every call may fail, hang, or succeed without a reply."""

    @abstractmethod
    def submit(self, job: Job, tag: str, max_execution_seconds: int) -> str:
        """Sends a job with a tag; returns its id."""

    @abstractmethod
    def find(self, tag: str) -> list[str]:
        """Ids of the jobs with a tag, the oldest first."""

    @abstractmethod
    def state(self, job_id: str) -> tuple[JobState, str]:
        """How a job stands, and what is said of it where it failed."""

    @abstractmethod
    def fetch(self, job_id: str, shapes: Sequence[tuple[int, int, int]]) -> tuple[np.ndarray, ...]:
        """Bits of each PUB of a job that is done, of these shapes."""

    @abstractmethod
    def billed_seconds(self, job_id: str) -> float | None:
        """QPU seconds that were charged; None where the service does not say yet."""

    @abstractmethod
    def cancel(self, job_id: str) -> None:
        """Asks the service to stop a job."""

    @abstractmethod
    def close(self) -> None:
        """Ends a batch or session, if one was opened; its jobs go on."""

    @abstractmethod
    def in_short(self, error: BaseException) -> str:
        """An error in one line, without secrets."""


class IBMService(AbstractService):
    """IBM Quantum, through its own client.

    The account comes from the environment (QISKIT_IBM_TOKEN, QISKIT_IBM_INSTANCE) or from the client's saved file. The
    token is given to no one, and cut out of what the client says.

    Args:
        device: name of a QPU; None to manage jobs only.
        mode: where jobs run: each on its own, or in a batch or session, which `close` ends.
        most_seconds: longest life of a batch or session.
        options: of IBM's Sampler, as a dictionary: twirling, dynamical_decoupling, execution ...

    Raises:
        NoAccount: without an account that is accepted.
        UnknownDevice: for a device that does not exist or is offline.
    """

    def __init__(
        self,
        device: str | None = None,
        *,
        mode: Mode = "job",
        most_seconds: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._secrets: tuple[str, ...] = ()
        self._client = self._connected()
        self._options = checked_options(options)
        self.backend = None if device is None else self._backend(device)
        self._mode = self.backend if mode == "job" else self._opened(mode, most_seconds)
        self.opened = None if mode == "job" else self._mode

    def in_short(self, error: BaseException) -> str:
        return in_short(error, self._secrets)

    def _asked(self, call: Callable[[], T]) -> T:
        """What `call` gives; with a new connection where the token has expired, which the client does not see to."""
        try:
            return call()
        except Exception as error:
            if http_status(error) != _UNAUTHORIZED:
                raise
            self._client = self._connected()
            if self.backend is not None and self.opened is None:
                self.backend = self._mode = self._backend(self.backend.name)
            return call()

    def submit(self, job: Job, tag: str, max_execution_seconds: int) -> str:
        return self._asked(lambda: self._submitted(job, tag, max_execution_seconds))

    def _submitted(self, job: Job, tag: str, max_execution_seconds: int) -> str:
        from qiskit_ibm_runtime.executor_sampler import Sampler

        environment = dict(self._options.get("environment", {}))
        environment["job_tags"] = [*environment.get("job_tags", []), tag, OWN_TAG]
        options = {**self._options, "environment": environment, "max_execution_time": max_execution_seconds}
        options = twirled_evenly(options, job.most_shots)
        submitted = Sampler(mode=self._mode, options=options).run(sampler_pubs(job))  # pyright: ignore
        return submitted.job_id()

    def find(self, tag: str) -> list[str]:
        # Ten are listed unless told otherwise.
        found = self._asked(lambda: self._client.jobs(job_tags=[tag], limit=None))
        return [job.job_id() for job in reversed(found)]

    def state(self, job_id: str) -> tuple[JobState, str]:
        def ask() -> tuple[JobState, str]:
            job = self._client.job(job_id)
            state = _STATES.get(str(job.status()), "waiting")
            return state, str(job.error_message() or "") if state == "failed" else ""

        return self._asked(ask)

    def fetch(self, job_id: str, shapes: Sequence[tuple[int, int, int]]) -> tuple[np.ndarray, ...]:
        return bits_of(self._asked(lambda: self._client.job(job_id).result()), shapes)

    def billed_seconds(self, job_id: str) -> float | None:
        usage = self._asked(lambda: self._client.job(job_id).metrics()).get("usage", {})
        return float(usage["qpu_charge_time_seconds"]) if usage.get("status") == "complete" else None

    def cancel(self, job_id: str) -> None:
        self._asked(lambda: self._client.job(job_id).cancel())

    def close(self) -> None:
        if self.opened is not None:
            self.opened.close()

    def _connected(self) -> Any:
        try:
            from qiskit_ibm_runtime import QiskitRuntimeService
        except ImportError as error:
            raise NoAccount(
                "IBM Quantum needs the package qiskit-ibm-runtime: `pip install 'qtn-hybrid[ibm]'`."
            ) from error
        try:
            client = QiskitRuntimeService()
        except Exception as error:
            raise NoAccount(
                f"No account of IBM Quantum was accepted ({in_short(error)}): set QISKIT_IBM_TOKEN and "
                "QISKIT_IBM_INSTANCE, or save an account with the client's `save_account`."
            ) from None
        self._secrets = (str((client.active_account() or {}).get("token", "")),)
        return client

    def _backend(self, device: str) -> Any:
        try:
            backend = self._client.backend(device)
        except Exception as error:
            names = self._names()
            known = f"this account sees {', '.join(names)}" if names else "this account sees no device"
            raise UnknownDevice(
                f"There is no device {device!r} to be had ({self.in_short(error)}); {known}."
            ) from None
        status = backend.status()
        if not status.operational:
            raise UnknownDevice(
                f"The device {device} is offline ({self.in_short(RuntimeError(status.status_msg))}): choose another of "
                f"{', '.join(self._names())}, or wait."
            )
        return backend

    def _names(self) -> list[str]:
        try:
            return sorted(backend.name for backend in self._client.backends())
        except Exception:
            return []

    def _opened(self, mode: Mode, most_seconds: int | None) -> Any:
        from qiskit_ibm_runtime import Batch, Session

        kind = {"batch": Batch, "session": Session}[mode]
        return kind(backend=self.backend, max_time=most_seconds)
