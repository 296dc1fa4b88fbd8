"""The verbs of `python -m studies`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from studies.engine import verbs
from studies.engine.errors import BadRequest, StudyError
from studies.engine.lookup import Registry, load_study
from studies.engine.study import Study

_StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name, or package.module path, of a study.")]
_Preset = Annotated[str, typer.Option(help="Parameters of the study.")]
_LastPreset = Annotated[
    str | None, typer.Option("--preset", help="Parameters of the study; those of its last run unless said.")
]
_Results = Annotated[Path, typer.Option(help="Folder of all results.")]
_RESULTS = Path("results")
_OPEN = {"allow_extra_args": True, "ignore_unknown_options": True}
"""What a verb leaves over are options of the study."""


def application(registry: Registry, more: Mapping[str, typer.Typer] | None = None) -> typer.Typer:
    """The command line over the studies of a registry, with further verbs by name."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Run studies: tasks are stored row by row, so any run can be stopped and gone on with.",
    )

    @app.command(name="list")
    def list_studies() -> None:
        """List the studies with their questions."""
        verbs.list_studies(registry)

    def chosen(study: str, context: typer.Context) -> Study:
        return load_study(study, registry).with_options(_own_options(context.args))

    @app.command(context_settings=_OPEN)
    def plan(
        context: typer.Context, study: _StudyName, preset: _Preset = "quick", results: _Results = _RESULTS
    ) -> None:
        """Say what a run would do and cost, without running it."""
        verbs.plan(chosen(study, context), preset, results)

    @app.command(context_settings=_OPEN)
    def run(
        context: typer.Context,
        study: _StudyName,
        preset: _Preset = "quick",
        results: _Results = _RESULTS,
        workers: Annotated[
            int | None, typer.Option(help="Processes; all cores unless said; 0 works in this one.")
        ] = None,
        scheduler: Annotated[
            str | None, typer.Option(help="Dask scheduler, such as tcp://host:8786.")
        ] = None,
        shard: Annotated[str | None, typer.Option(help="Do only part k of N, such as 1/4.")] = None,
        limit: Annotated[int | None, typer.Option(help="Do at most this many of the missing tasks.")] = None,
        spend: Annotated[float | None, typer.Option(help="Dollars that tasks may spend on QPUs.")] = None,
    ) -> None:
        """Run the tasks that have no result yet, then write the report. A study may have options of its own."""
        request = verbs.RunRequest(
            preset=preset,
            results=results,
            workers=workers,
            scheduler=scheduler,
            shard=shard,
            limit=limit,
            spend=spend,
        )
        raise typer.Exit(verbs.run(chosen(study, context), request))

    @app.command()
    def status(study: _StudyName, preset: _LastPreset = None, results: _Results = _RESULTS) -> None:
        """Say how far a study is and what failed."""
        verbs.status(load_study(study, registry), preset, results)

    @app.command()
    def report(study: _StudyName, preset: _LastPreset = None, results: _Results = _RESULTS) -> None:
        """Write the report anew from the rows there are."""
        raise typer.Exit(verbs.report(load_study(study, registry), preset, results))

    @app.command()
    def merge(
        others: Annotated[list[Path], typer.Argument(help="Results folders of other runs or computers.")],
        results: _Results = _RESULTS,
    ) -> None:
        """Add the rows of other results folders to this one."""
        verbs.merge_results(results, others)

    for name, verb in (more or {}).items():
        app.add_typer(verb, name=name)
    return app


def _own_options(words: list[str]) -> dict[str, str]:
    """Options of a study from what is left of a command line: `--name value` or `--name=value`."""
    given: dict[str, str] = {}
    left = iter(words)
    for word in left:
        if not word.startswith("--"):
            raise BadRequest(f"Got unexpected extra argument ({word}).")
        name, equals, text = word.removeprefix("--").partition("=")
        given[name] = text if equals else next(left, "")
    return given


def command_line(
    arguments: list[str], registry: Registry, more: Mapping[str, typer.Typer] | None = None
) -> int:
    """The exit status of a command: 0 done, 1 tasks failed, 2 bad input, 74 disk, 75 locked, 130 interrupted.

    Whatever goes wrong is told in one sentence on standard error.
    """
    from typer._click.exceptions import ClickException

    try:
        status = application(registry, more)(
            args=arguments, prog_name="python -m studies", standalone_mode=False
        )
    except ClickException as error:
        return _tell(error.format_message(), error.exit_code)
    except StudyError as error:
        return _tell(str(error), error.exit_status)
    except BrokenPipeError:  # the reader, such as `head`, has gone
        sys.stderr.close()
        return 0
    except OSError as error:
        return _tell(str(error), 74)
    except ImportError as error:
        return _tell(f"{error}. Install what the studies need: pip install 'qtn-hybrid[study]'.", 2)
    except (ValueError, TypeError) as error:
        return _tell(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _tell("Interrupted. All finished tasks are stored.", 130)
    return status if isinstance(status, int) else 0


def main(study: Study) -> None:
    """Runs a study from its own file, with the options of `run`: `if __name__ == "__main__": main(STUDY)`."""
    sys.exit(command_line(["run", study.name, *sys.argv[1:]], {study.name: study}))


def _tell(sentence: str, exit_status: int) -> int:
    if sentence:  # it is empty when help was shown instead
        print(f"studies: {sentence}", file=sys.stderr)
    return exit_status
