"""The recipe of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from classical.cost import Cost
from studies.engine.attempt import Run, describe
from studies.engine.errors import BadRequest
from studies.engine.folder import check_name
from studies.engine.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from studies.engine.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, the tasks that answer it, and how their rows become figures and sentences.

    The functions that take a table get the good rows of the tasks of the preset, as `read_rows` gives them;
    there may be fewer rows than tasks. `run` must be a function of a module, since other processes look it up
    by name.
    """

    name: str
    version: int
    """Raise it when the numbers change: rows of other versions are left aside."""
    question: str
    presets: Mapping[str, Any]
    """Parameters by name, each a frozen dataclass. "quick" must be there; it is the default."""
    tasks: Callable[[Any], Iterable[Mapping[str, Any]]]
    """The specs of a preset: plain values, one dict a task."""
    run: Run
    """The metrics of a task. "cost" may hold a `Cost`, "timing" a dict of what differs from run to run."""
    figures: Callable[[pd.DataFrame], list[Figure]]
    answer: Callable[[pd.DataFrame], list[str]]
    """Sentences that answer the question, with intervals and conditions."""
    tables: Callable[[pd.DataFrame], Mapping[str, pd.DataFrame]]
    """Small summaries by title, for the terminal and the report."""
    price: Callable[[Task], Cost] | None = None
    """What a task would cost, for the verb `plan`."""
    bill: Callable[[Task], float] | None = None
    """Dollars that a task really spends, on a QPU, about; `run` wants them allowed with `--spend`."""
    free_seconds: float | None = None
    """QPU seconds that a month of a free plan has, for the verb `plan`."""
    duration: Callable[[Task], float] | None = None
    """How long a task takes beside the others, in any unit, for the estimate of the time left."""
    time_limit_seconds: float = 600.0
    """A task that runs longer is killed."""
    options: Mapping[str, Callable[[Any, str], Any]] = field(default_factory=dict)
    """Options of its own on the command line, by name: what makes other parameters of those of a preset and a text."""
    given: Mapping[str, str] = field(default_factory=dict)
    """The options that were given, see `with_options`."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if type(self.version) is not int or self.version < 1:
            raise ValueError(f"Argument `version` must be an int of at least 1, but is {self.version!r}.")
        if "quick" not in self.presets:
            raise ValueError(f"Argument `presets` must hold 'quick', but holds {sorted(self.presets)}.")
        for name, params in self.presets.items():
            if not is_dataclass(params) or isinstance(params, type):
                raise TypeError(f"Preset `{name}` must be a value of a dataclass, but is {params!r}.")
        if "<" in getattr(self.run, "__qualname__", "<"):
            raise ValueError(
                "Argument `run` must be a function of a module, but is a lambda or a local function."
            )
        if not self.time_limit_seconds > 0:
            raise ValueError(
                f"Argument `time_limit_seconds` must be positive, but is {self.time_limit_seconds}."
            )

    def with_options(self, given: Mapping[str, str]) -> Study:
        """The study with the parameters of all presets changed by options of its own.

        Raises:
            BadRequest: when it has no such option.
            ValueError: when the text of an option does not suit it.
        """
        presets = dict(self.presets)
        for name, text in given.items():
            if name not in self.options:
                own = (
                    f" {self.name} has {', '.join(f'--{each}' for each in self.options)}."
                    if self.options
                    else ""
                )
                raise BadRequest(f"No such option: --{name}.{own}")
            presets = {preset: self.options[name](params, text) for preset, params in presets.items()}
        return replace(self, presets=presets, given={**self.given, **given})

    def tasks_of(self, preset: str) -> list[Task]:
        """The tasks of a preset, in the order of the study.

        Raises:
            ValueError: when there is no such preset, no task, or the same task twice.
        """
        params = self._params(preset)
        try:
            specs = list(self.tasks(params))
        except Exception as error:  # the code of a study; told in one sentence
            why = describe(error)
            raise BadRequest(
                f"The tasks of {self.name} could not be made: {why} (in {why.where})."
            ) from error
        tasks = [Task(study=self.name, version=self.version, spec=spec) for spec in specs]
        if not tasks:
            raise ValueError(f"Preset `{preset}` of {self.name} must make at least one task, but makes none.")
        seen: set[str] = set()
        for task in tasks:
            if task.id in seen:
                raise ValueError(
                    f"The tasks of {self.name} must differ, but {dict(task.spec)} comes twice. "
                    "Give repetitions a `replicate` number."
                )
            seen.add(task.id)
        return tasks

    def params_of(self, preset: str) -> dict[str, Any]:
        """The parameters of a preset as plain values."""
        return asdict(self._params(preset))

    def _params(self, preset: str) -> Any:
        if preset not in self.presets:
            raise ValueError(
                f"Argument `preset` must be one of {', '.join(sorted(self.presets))}, but is {preset!r}."
            )
        return self.presets[preset]
