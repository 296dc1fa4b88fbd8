"""Sources of expectation values."""

from hybrid.backends.base import AbstractBackend, Measured, Request
from hybrid.backends.device import DeviceBackend
from hybrid.backends.exact import Exact
from hybrid.backends.mitigation import ReadoutMitigated, ZeroNoise
from hybrid.backends.opening import BACKENDS, open_backend
from hybrid.backends.sampled import Sampled
from hybrid.backends.samplers import from_sampler, from_vendor

__all__ = [
    "BACKENDS",
    "AbstractBackend",
    "DeviceBackend",
    "Exact",
    "Measured",
    "ReadoutMitigated",
    "Request",
    "Sampled",
    "ZeroNoise",
    "from_sampler",
    "from_vendor",
    "open_backend",
]
