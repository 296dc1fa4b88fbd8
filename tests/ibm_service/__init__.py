"""A loopback IBM Quantum service: the unmodified IBM client talks to it over HTTP, Aer runs the jobs.

It answers on 127.0.0.1 only, and what it shows is no statement about IBM's machines. In a test:

    with LoopbackService(folder) as service:
        os.environ.update(service.environment())
        backend = QiskitRuntimeService().backend("fake_manila")

By hand, in one terminal `python -m tests.ibm_service --folder F`, in another the lines that it prints.
"""

from __future__ import annotations

from .faults import Fault
from .rules import Rules
from .server import LoopbackService
from .store import StoredJob

__all__ = ["Fault", "LoopbackService", "Rules", "StoredJob"]
