"""The studies of this project."""

from __future__ import annotations

STUDIES: dict[str, str] = {
    "barren_plateau": "studies.barren_plateau",
    "compression": "studies.compression",
    "gradient_scaling": "studies.gradient_scaling",
    "measurement_overhead": "studies.measurement_overhead",
    "qpu_gradients": "studies.qpu_gradients",
}
"""The module of each study, by name. A module is imported when its study is asked for, not before."""
