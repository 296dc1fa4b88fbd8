"""Qualities, seconds and memory of one subject of the study `compression` by chosen methods and sizes, as text."""

from __future__ import annotations

import argparse
import resource
import sys

from studies.compressing.methods import DENSE, TITLES, compressed, source_of
from studies.compressing.subjects import subject_of, why_not


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each method and size as it is done; 2 where the subject cannot be loaded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", default="smollm2", help="such as smollm2, minilm, digits or path:FOLDER")
    parser.add_argument("--methods", nargs="+", default=["ours"], choices=list(TITLES))
    parser.add_argument("--kept", nargs="+", type=float, default=[0.8, 0.6, 0.4])
    given = parser.parse_args(arguments)
    try:
        if lacking := why_not(subject_of(given.subject)):
            raise ValueError(lacking)
        source = source_of(given.subject)
        for method, kept in [
            (DENSE, 1.0),
            *((method, kept) for kept in given.kept for method in given.methods),
        ]:
            made = compressed(source, method, kept)
            qualities = source.subject.measure(made.model)
            said = ", ".join(f"{name} {each.value:.4g}" for name, each in qualities.items())
            peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(
                f"{method} at {kept:g} kept: {said}; {made.seconds:.0f} s with calibration, {peak_bytes / 1e9:.1f} GB "
                "at the peak so far",
                flush=True,
            )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
