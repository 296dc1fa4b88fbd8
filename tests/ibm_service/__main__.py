"""`python -m tests.ibm_service --folder F`: the service in the foreground, until Ctrl-C."""

from __future__ import annotations

import argparse
import shlex
import signal
import threading
from pathlib import Path

from . import Fault, LoopbackService, Rules
from .faults import parse_fault


def _fault(text: str) -> Fault:
    try:
        return parse_fault(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _arguments() -> argparse.Namespace:
    usual = Rules()
    parser = argparse.ArgumentParser(prog="python -m tests.ibm_service", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the jobs are stored")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument(
        "--device", action="append", help="fake_manila by default; may be given several times"
    )
    parser.add_argument("--offline", action="append", default=[], help="a device that takes no jobs")
    parser.add_argument("--submissions-per-minute", type=int, default=usual.submissions_per_minute)
    parser.add_argument("--most-executions", type=int, default=usual.most_executions)
    parser.add_argument("--usage-limit-seconds", type=float)
    parser.add_argument("--queue-seconds", type=float, default=usual.queue_seconds)
    parser.add_argument("--listing-lag-seconds", type=float, default=usual.listing_lag_seconds)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument(
        "--fault", type=_fault, action="append", default=[], help="kind:METHOD:path[:name=value]..."
    )
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    rules = Rules(
        submissions_per_minute=arguments.submissions_per_minute,
        most_executions=arguments.most_executions,
        usage_limit_seconds=arguments.usage_limit_seconds,
        queue_seconds=arguments.queue_seconds,
        listing_lag_seconds=arguments.listing_lag_seconds,
        offline=tuple(arguments.offline),
        seed=arguments.seed,
    )
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    names = arguments.device or ["fake_manila"]
    try:
        service = LoopbackService(arguments.folder, names, rules, arguments.fault, port=arguments.port)
    except (ValueError, OSError) as error:
        # A device of no such name, a port in use.
        raise SystemExit(str(error)) from error
    with service:
        for name, value in service.environment().items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
