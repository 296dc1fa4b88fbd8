"""Backends by name."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from hybrid.backends.base import AbstractBackend
from hybrid.backends.device import DeviceBackend
from hybrid.backends.exact import Exact
from hybrid.backends.sampled import Sampled
from hybrid.devices.prices import DEFAULT_PLAN, Prices, Pricing
from hybrid.devices.runner import SamplerRunner
from hybrid.devices.transpiling import Transpiler

BACKENDS: Mapping[str, Callable[[], AbstractBackend]] = {"exact": Exact, "sampled": Sampled}
JOURNAL = Path("results") / "jobs.sqlite"
_FORMS = [*BACKENDS, "aer", "fake:<name>", "ibm:<name>"]


def open_backend(name: str, **options: Any) -> AbstractBackend:
    """Returns a backend by name.

    `exact` and `sampled` simulate here; `aer` draws shots with Qiskit Aer; `fake:manila` runs IBM's client in its
    local mode, with the noise of a device, for nothing; `ibm:<name>` submits to a QPU.

    Options of `fake:` and `ibm:`: `options`, those of IBM's Sampler as a dictionary (twirling, dynamical_decoupling,
    execution with rep_delay ...), `optimization_level` and `seed` of transpiling. Of `ibm:` only: see `open_ibm`.

    Raises:
        ValueError: for an unknown name or option, or a package that is not installed.
    """
    kind, _, device = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind in BACKENDS and not device:
        return _called(name, BACKENDS[kind], options)
    if name == "aer":
        return _called(name, open_aer, options)
    if kind == "fake" and device:
        return _called(name, lambda **given: open_fake(device, **given), options)
    if kind == "ibm" and device:
        return _called(name, lambda **given: open_ibm(device, **given), options)
    raise ValueError(f"Argument `name` must be one of {_FORMS}, but is {name!r}.")


def _called(name: str, make: Callable[..., AbstractBackend], options: Mapping[str, Any]) -> AbstractBackend:
    try:
        return make(**options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise ValueError(f"The backend {name} has no option{str(error).partition('argument')[2]}.") from None


def open_aer(**backend_options: Any) -> DeviceBackend:
    """Returns Aer's SamplerV2 as a backend; options go to the AerSimulator, as `noise_model`.

    With a noise model, circuits are translated to the gates that it names, and not shortened.
    """
    try:
        from qiskit_aer import AerSimulator
        from qiskit_aer.primitives import SamplerV2
    except ImportError as error:
        raise _missing("qiskit-aer", "aer") from error

    def make(seed: int, _: int) -> Any:
        return SamplerV2(seed=seed, options={"backend_options": backend_options})

    noisy = backend_options.get("noise_model") is not None
    transpiler = (
        Transpiler(backend=AerSimulator(**backend_options), optimization_level=0) if noisy else Transpiler()
    )
    return DeviceBackend(runner=SamplerRunner(make=make, seeded=True), transpiler=transpiler, name="Aer")


def open_fake(
    device: str, *, options: Mapping[str, Any] | None = None, optimization_level: int = 1, seed: int = 0
) -> DeviceBackend:
    """Returns a fake device of IBM's client, in local mode: the client's own path, Aer and the device's noise."""
    try:
        from qiskit_ibm_runtime import fake_provider
        from qiskit_ibm_runtime.executor_sampler import Sampler
    except ImportError as error:
        raise _missing("qiskit-ibm-runtime", "ibm") from error

    from hybrid.ibm.options import checked_options, twirled_evenly

    kinds = {
        kind.removeprefix("Fake").removesuffix("V2").lower(): kind
        for kind in dir(fake_provider)
        if kind.startswith("Fake") and "Provider" not in kind and kind != "FakeFractionalBackend"
    }
    if device.lower() not in kinds:
        raise ValueError(
            f"Argument `name` must be fake: and one of {get_close_matches(device.lower(), kinds) or sorted(kinds)}, "
            f"but is {'fake:' + device!r}."
        )
    backend = getattr(fake_provider, kinds[device.lower()])()
    given = checked_options(options)

    def make(seed: int, shots: int) -> Any:
        simulator = {**given.get("simulator", {}), "seed_simulator": seed}
        return Sampler(mode=backend, options=twirled_evenly({**given, "simulator": simulator}, shots))

    return DeviceBackend(
        runner=SamplerRunner(make=make, equal_shots=True, seeded=True),
        transpiler=Transpiler(backend=backend, optimization_level=optimization_level, seed=seed),
        name=f"fake {device}",
    )


def open_ibm(
    device: str,
    *,
    spend: float | None = None,
    task: str | None = None,
    journal: Path | str = JOURNAL,
    mode: str = "job",
    most_seconds: int | None = None,
    plan: str = DEFAULT_PLAN,
    prices: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
    optimization_level: int = 1,
    seed: int = 0,
    wait_seconds: float | None = None,
    say: Callable[[str], None] | None = None,
    **patience: float,
) -> DeviceBackend:
    """Returns a QPU of IBM Quantum as a backend: one job for a gradient, priced first, never paid twice.

    The account comes from QISKIT_IBM_TOKEN and QISKIT_IBM_INSTANCE, or the client's saved file.

    Args:
        spend: dollars that the task may cost in all; without it nothing is submitted, and the refusal says the price.
        task: a name under which a rerun finds its jobs again, and does not pay for them twice. Without one every
            start is a task of its own.
        journal: file of the jobs.
        mode: "job"; or "batch" or "session", whose bound is printed. A session bills the clock, idle time too.
        most_seconds: longest life of a batch or session.
        plan, prices: whose price a second has, and another price table.
        wait_seconds: for a result; as long as it takes by default.
        say: takes lines on what happens; they go to standard error by default.
        patience: `reply`, `grace`, `poll`, `tries`, `back_off` of `Patience`.

    Raises:
        IBMFailure: for what is wrong with account, device or service, in a sentence.
        ValueError: for options that do not fit.
    """
    from hybrid.ibm.journal import Journal
    from hybrid.ibm.runner import PaidRunner
    from hybrid.ibm.service import IBMService
    from hybrid.ibm.waiting import Patience

    _check_ibm(mode, most_seconds, spend, task, journal, say, patience)
    table = Prices.load(prices)
    rate = table.of_plan(plan)
    book = Journal(journal)
    tell = say or (lambda line: print(line, file=sys.stderr, flush=True))
    if mode != "job":
        bound = _mode_bound(mode, most_seconds, spend, rate)
        tell(f"{device}: opening a {mode}, {bound} ({plan}, prices of {table.date}).")
    service = IBMService(device, mode=mode, most_seconds=most_seconds, options=options)  # pyright: ignore
    given = dict(options or {}).get("execution", {}).get("rep_delay")
    backend: Any = service.backend
    runner = PaidRunner(
        service=service,
        device=device,
        journal=book,
        pricing=Pricing(
            target=backend.target,
            prices=table,
            plan=plan,
            rep_delay_seconds=getattr(backend, "default_rep_delay", None) if given is None else given,
        ),
        task=task or f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}",
        spend=spend,
        patience=Patience(result=wait_seconds, **patience),  # pyright: ignore[reportArgumentType]
        say=tell,
    )
    transpiler = Transpiler(backend=backend, optimization_level=optimization_level, seed=seed)
    return DeviceBackend(runner=runner, transpiler=transpiler, name=f"ibm {device}")


def _check_ibm(
    mode: object,
    most_seconds: object,
    spend: object,
    task: object,
    journal: object,
    say: object,
    patience: Mapping[str, object],
) -> None:
    """Raises ValueError for an argument of `open_ibm` that is of a wrong kind or size."""
    from hybrid.ibm.service import Mode

    if mode not in get_args(Mode):
        raise ValueError(f"Argument `mode` must be one of {list(get_args(Mode))}, but is {mode!r}.")
    if mode == "session" and most_seconds is None:
        raise ValueError("Argument `most_seconds` must be given for a session, which bills the clock.")
    if spend is not None and not _at_least_zero(spend):
        raise ValueError(f"Argument `spend` must be a number of dollars, at least 0, but is {spend!r}.")
    if most_seconds is not None and not (_at_least_zero(most_seconds) and most_seconds):
        raise ValueError(f"Argument `most_seconds` must be a positive number, but is {most_seconds!r}.")
    if task is not None and not (isinstance(task, str) and task):
        raise ValueError(f"Argument `task` must be a name, but is {task!r}.")
    if say is not None and not callable(say):
        raise ValueError(f"Argument `say` must be a function of a line, as `print` is, but is {say!r}.")
    for name, value in patience.items():
        if not _at_least_zero(value):
            raise ValueError(f"Argument `{name}` must be a number, at least 0, but is {value!r}.")
    if not isinstance(journal, (str, Path)):
        raise ValueError(f"Argument `journal` must be a path, but is {journal!r}.")


def _mode_bound(mode: str, most_seconds: int | None, spend: float | None, rate: float) -> str:
    """What a batch or session may cost, in words; raises ValueError for a session above `spend`."""
    if most_seconds is None:
        return "no bound"
    dollars = most_seconds * rate
    if mode == "session" and spend is not None and dollars > spend:
        raise ValueError(
            f"A session of {most_seconds} s can cost ${dollars:,.2f}, above the ${spend:,.2f} that `spend` allows: "
            "shorten it with `most_seconds`."
        )
    return f"at most ${dollars:,.2f}"


def _at_least_zero(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _missing(package: str, extra: str) -> ValueError:
    return ValueError(f"This backend needs the package {package}: `pip install 'qtn-hybrid[{extra}]'`.")


__all__ = ["BACKENDS", "open_aer", "open_backend", "open_fake", "open_ibm"]
