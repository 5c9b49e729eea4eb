"""`distiller study`: many runs over a space of pipelines."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distiller.cli.app import make_app
from distiller.cli.recipes import studies_like

if TYPE_CHECKING:
    from distiller.study.config import Study
    from distiller.study.progress import Progress

SOURCE = typer.Argument(
    metavar="STUDY", help="A study file, the folder of a study, or the name of a recipe.", autocompletion=studies_like
)
OVERRIDES = typer.Argument(metavar="KEY=VALUE", help="Fields to change, e.g. `trials=100 engine.workers=4`.")
TRIALS = typer.Argument(
    metavar="TRIALS", help="A study (folder or file), a storage (file or URL), or a table of trials."
)
NAME = typer.Option("--name", help="Which study of a storage that has several.")
QUIET = typer.Option("--quiet", "-q", help="No progress on stderr.")
JSON = typer.Option("--json", help="Print JSON instead of a table.")
app = make_app("Search a space of pipelines, and know which choice mattered.")


@app.command("run")
def run(
    source: Annotated[str, SOURCE],
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    resume: Annotated[bool, typer.Option(help="Go on where the study stopped.")] = False,
    check: Annotated[bool, typer.Option(help="First look whether its runs can work.")] = True,
    json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Try every point of a study once, and print the best.

    Examples:

        distiller study run study-small
        distiller study run study.yaml trials=300 engine.workers=4
        distiller study run study.yaml engine=ray storage=postgresql://user@host/studies
    """
    from distiller.study.config import load_study

    _carry_out(load_study(source, overrides or []), quiet, json, resume=resume, check=check)


@app.command("resume")
def resume(
    source: Annotated[str, SOURCE],
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed points again.")] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Also what a machine that is gone left running in a .journal file.")
    ] = False,
    json: Annotated[bool, JSON] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Go on with an interrupted study: each remaining point is tried once.

    Examples:

        distiller study resume outputs/small
        distiller study resume outputs/small trials=500 --retry-failed
    """
    from distiller.study.config import load_study

    study = load_study(source, overrides or [])
    _carry_out(study, quiet, json, resume=True, check=False, retry_failed=retry_failed, take_over=take_over)


@app.command("status")
def status(
    source: Annotated[str, SOURCE],
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    json: Annotated[bool, JSON] = False,
) -> None:
    """Print how a study stands: trials by state, failures and their reasons, the best so far.

    Example:

        distiller study status outputs/small
    """
    from distiller.study.config import load_study
    from distiller.study.progress import progress_of
    from distiller.study.search_space import search_space_of
    from distiller.study.storage import open_study, storage_of, storing

    study = load_study(source, overrides or [])
    space = search_space_of(study)
    with storing(storage_of(study)):
        found = progress_of(open_study(space))
    _print(study, found, json)


@app.command("report")
def report(
    source: Annotated[str, TRIALS],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write the page; `report.html` in the study's folder."),
    ] = None,
    name: Annotated[str | None, NAME] = None,
) -> None:
    """Write one self-contained HTML page: scores against size and speed, importances, every trial.

    Example:

        distiller study report outputs/small
    """
    from distiller.report import write_report
    from distiller.study.trial_io import is_study, load_trials

    title = name or Path(source).stem
    target = output or (Path(source) / "report.html" if is_study(source) else Path(f"{title}.html"))
    typer.echo(write_report(load_trials(source, name=name), target, title=title))


@app.command("export")
def export(
    source: Annotated[str, TRIALS],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .csv or .parquet file.")],
    name: Annotated[str | None, NAME] = None,
) -> None:
    """Write all trials to a table.

    Example:

        distiller study export outputs/small -o small.parquet
    """
    from distiller.study import trial_io

    trial_io.check_table_name(output)
    trials = trial_io.load_trials(source, name=name)
    typer.echo(trial_io.export_trials(trials, output))
    typer.echo(f"{len(trials.frame)} trials", err=True)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="TABLE", help="A .csv or .parquet file of results.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .csv or .parquet file.")],
    columns: Annotated[
        list[str] | None, typer.Option("--map", metavar="OURS=THEIRS", help="A column of theirs, and what we call it.")
    ] = None,
    factors: Annotated[list[str] | None, typer.Option("--factor", help="A column that was varied.")] = None,
) -> None:
    """Make a table of trials from results of elsewhere, for `report`, `importance` and `recommend`.

    The result table of the Distiller paper (arXiv:2109.11105) is recognised.

    Examples:

        distiller study import runs.csv -o authors.parquet
        distiller study import mine.csv -o mine.parquet --map score=f1 --map mapping=layers
    """
    from distiller.cli.importance import pairs
    from distiller.study import trial_io

    trial_io.check_table_name(output)
    trials = trial_io.import_csv(source, columns=pairs(columns), factors=factors or ())
    typer.echo(trial_io.export_trials(trials, output))
    typer.echo(f"{len(trials.frame)} trials, factors: {', '.join(trials.factors)}", err=True)


@app.command("init")
def init(
    recipe: Annotated[
        str, typer.Argument(help="A study from `distiller recipes`.", autocompletion=studies_like)
    ] = "study-small",
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")] = Path("study.yaml"),
    force: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Write the recipe of a study to a file, to edit and run.

    Example:

        distiller study init study-distiller -o rte.yaml
    """
    from distiller.cli import recipes
    from distiller.errors import ConfigError, did_you_mean
    from distiller.recipes import study_texts

    if recipe not in study_texts():
        raise ConfigError(f"no study is called `{recipe}`", hint=did_you_mean(recipe, list(study_texts())))
    recipes.init(recipe, output=output, force=force)


def _carry_out(
    study: "Study",
    quiet: bool,
    json: bool,
    *,
    resume: bool,
    check: bool,
    retry_failed: bool = False,
    take_over: bool = False,
) -> None:
    from functools import partial

    from rich.live import Live

    from distiller.cli.console import progress
    from distiller.errors import RunError
    from distiller.study.engine import run_study

    act = partial(run_study, study, resume=resume, check=check, retry_failed=retry_failed, take_over=take_over)
    if quiet:
        found = act()
    else:
        with Live(f"{study.name}: starting", console=progress(), refresh_per_second=2, transient=True) as live:
            found = act(on_progress=lambda now: live.update(_line(study, now)))
    _print(study, found, json)
    if found.running:
        typer.echo(
            f"{found.running} trials run elsewhere; if that machine is gone: "
            f"distiller study resume {study.place} --take-over",
            err=True,
        )
    if found.failed and not found.complete:
        raise RunError("every trial failed", hint=f"their reasons: distiller study status {study.place}")


def _line(study: "Study", now: "Progress") -> str:
    """E.g. `small: 12 of 48 done, 1 failed, 2 running · best 0.871 · 14 min left`."""
    from distiller.jobs import duration

    parts = [f"{now.finished} of {now.total} done"]
    parts += [f"{count} {word}" for word, count in (("failed", now.failed), ("running", now.running)) if count]
    text = f"{study.name}: {', '.join(parts)}"
    if now.best:
        text += f" · best {max(one.score for one in now.best):.4f}"
    left = now.remaining(study.engine.workers or max(1, now.running))
    return text if left is None else f"{text} · {duration(left)} left"


def _print(study: "Study", now: "Progress", json: bool) -> None:
    from distiller.cli.console import console, print_table

    if json:
        console().print_json(data={**asdict(now), "finished": now.finished, "waiting": now.waiting})
        return
    rows = [
        [one.task, one.teacher, one.student, f"{one.score:.4f}", str(one.trial), _words(one.point)] for one in now.best
    ]
    print_table(["task", "teacher", "student", "score", "trial", "best"], rows, title=_line(study, now))
    _print_failures(study)


def _words(point: dict[str, str]) -> str:
    return ", ".join(f"{name}={label}" for name, label in point.items()) or "the base run"


def _print_failures(study: "Study") -> None:
    from distiller.cli.console import print_words
    from distiller.study.storage import storage_of
    from distiller.study.trial_io import load_trials

    failed = load_trials(storage_of(study), name=study.name).frame.query("status == 'failed'")
    for reason, count in failed["reason"].value_counts().head(10).items():
        print_words(f"failed {count} ×: {reason}")
