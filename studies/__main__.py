"""`python -m studies`: list, plan, run, look at and report studies, and see to jobs on QPUs."""

from __future__ import annotations

import sys

from studies.engine.command_line import command_line
from studies.jobs import JOBS
from studies.registry import STUDIES

if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:], STUDIES, {"jobs": JOBS}))
