"""Options of IBM's Sampler: checked before anything is sent, and twirling that adds no shots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RANDOMIZATIONS = 32
_PRIVATE = (
    "Option `environment.private` lets results be read only once, which no recovery survives: leave it out."
)


def checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options as a dictionary; raises ValueError for those that the Sampler does not know, or private results."""
    from qiskit_ibm_runtime.options_models import SamplerOptions

    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"Argument `options` must be a dictionary, but is {options!r}.")
    given = dict(options or {})
    if "default_shots" in given:
        raise ValueError("Option `default_shots` has no meaning here: `total_shots` says how many there are.")
    delay = given.get("execution", {}).get("rep_delay")
    if delay is not None and not (isinstance(delay, (int, float)) and delay >= 0):
        raise ValueError(f"Option `execution.rep_delay` must be seconds, at least 0, but is {delay!r}.")
    try:
        SamplerOptions(**given)
    except ValueError as error:
        first = getattr(error, "errors", list)()[:1] or [{"loc": (), "msg": str(error).splitlines()[0]}]
        where = ".".join(str(part) for part in first[0]["loc"])
        raise ValueError(
            f"Argument `options` does not fit IBM's Sampler: {where}: {first[0]['msg']}."
        ) from None
    if given.get("environment", {}).get("private"):
        raise ValueError(_PRIVATE)
    return given


def twirled_evenly(options: Mapping[str, Any], shots: int) -> dict[str, Any]:
    """The options with as many twirling randomizations as divide the shots, so that no shot is added.

    At most those that are asked for, 32 unless said.
    """
    twirling = dict(options.get("twirling", {}))
    if not (twirling.get("enable_gates") or twirling.get("enable_measure")):
        return dict(options)
    asked = twirling.get("num_randomizations", "auto")
    most = _RANDOMIZATIONS if asked == "auto" else int(asked)
    count = max(n for n in range(1, max(1, most) + 1) if shots % n == 0)
    return {
        **options,
        "twirling": {**twirling, "num_randomizations": count, "shots_per_randomization": shots // count},
    }
