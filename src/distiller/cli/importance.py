"""`distiller importance`: which choice of a study mattered, and what the best trials have in common."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from distiller.analysis.best import Configuration, Count
    from distiller.analysis.effects import Effect
    from distiller.analysis.fanova import Fanova
    from distiller.analysis.importance import Importance
    from distiller.study.trials import Trials


def importance(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A study (folder, storage file or URL), or a table of trials.")
    ],
    per_task: Annotated[bool, typer.Option("--per-task", help="Also the shares of every task.")] = False,
    top: Annotated[int, typer.Option("--top", min=1, help="Best configurations shown and counted, by task.")] = 5,
    where: Annotated[list[str] | None, typer.Option("--where", help="Only some trials, e.g. `task=rte`.")] = None,
    factor: Annotated[list[str] | None, typer.Option("--factor", help="Only these columns, in place of all.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="What a column of a table is, e.g. `score=dev_accuracy`.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Which study of a storage that has several.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the forests and of the intervals.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print numbers instead of tables.")] = False,
) -> None:
    """Say which choice mattered: shares of the variance (fANOVA), effects of levels, the best configurations.

    Examples:

        distiller importance study.db --per-task
        distiller importance runs.csv --where student=tinybert-4 --where teacher=bert-base
        distiller importance sweep.csv --map score=dev_accuracy --map mapping=layers --json
    """
    from distiller.analysis.best import configurations, top_counts
    from distiller.analysis.effects import level_effects
    from distiller.analysis.importance import factor_importance
    from distiller.errors import DataError

    trials = open_source(source, pairs(columns), name).where(**pairs(where))
    if trials.complete.empty:
        among = f" with {' and '.join(where)}" if where else ""
        raise DataError(f"`{source}` has no finished trial{among}", hint="`distiller study status` says how it stands")
    found = factor_importance(trials, factors=factor or None, seed=seed)
    best = {task: listed[:top] for task, listed in configurations(trials).items()}
    counts = top_counts(trials, top=top)
    changes = level_effects(trials, seed=seed)
    if json:
        import json as encoder
        from dataclasses import asdict

        plain = {
            "trials": len(trials.complete),
            "importance": asdict(found),
            "effects": list(map(asdict, changes)),
            "top": top,
            "top_counts": list(map(asdict, counts)),
            "best": {task: list(map(asdict, listed)) for task, listed in best.items()},
        }
        print(encoder.dumps(plain, indent=1, ensure_ascii=False))
        return
    _print_shares(found, len(trials.complete))
    if per_task:
        _print_tasks(found)
    _print_effects(changes)
    _print_counts(counts, top)
    _print_best(best, trials.factors)


def open_source(source: str, columns: dict[str, str], name: str | None = None) -> "Trials":
    """Trials from a table file, the folder of the authors' runs, or a study. Raises `DistillerError`."""
    from pathlib import Path

    from distiller.study.trial_io import load_trials
    from distiller.study.trials import open_table, read_table

    if "://" not in source:
        path = Path(source)
        if columns:
            return read_table(path, columns=columns)
        if path.suffix in (".csv", ".parquet") or (path / "runs.csv").is_file():
            return open_table(path)
    return load_trials(source, name=name)


def pairs(options: list[str] | None) -> dict[str, str]:
    """`key=value` options as a mapping. Raises `ConfigError` for another form."""
    from distiller.errors import ConfigError

    found = {}
    for option in options or []:
        key, equals, value = option.partition("=")
        if not (key and equals and value):
            raise ConfigError(f"`{option}` is not of the form key=value", hint="e.g. `--where task=rte`")
        found[key] = value
    return found


def _print_shares(found: "Importance", trials: int) -> None:
    from distiller.cli.console import print_table, print_words

    if found.shares:
        print_table(
            ["component", "share %", "± trees", "± tasks", "PED-ANOVA %"],
            [
                (
                    share.name, f"{100 * share.mean:.1f}", f"{100 * share.tree_sd:.1f}", f"{100 * share.task_sd:.1f}",
                    f"{100 * found.second_mean.get(share.name, 0):.1f}" if share.name in found.second_mean else "",
                )
                for share in found.shares
            ],
            title=f"share of the variance of the score: {trials} trials, mean of {len(found.tasks)} task(s)",
        )  # fmt: skip
        rest = 1 - sum(share.mean for share in found.shares)
        print_words(f"{100 * max(rest, 0):.1f} % belongs to three or more factors together")
    for task, one in found.by_task.items():
        if one.refusal:
            print_words(f"{task}: not interpreted: {one.refusal}")
        for note in one.notes:
            print_words(f"{task}: {note}")


def _print_tasks(found: "Importance") -> None:
    from distiller.cli.console import print_table

    shown = {task: found.by_task[task] for task in found.tasks}

    def cell(one: "Fanova", factors: tuple[str, ...]) -> str:
        part = next((part for part in one.components if set(part.factors) == set(factors)), None)
        return f"{100 * part.mean:.1f} ± {100 * part.sd:.1f}" if part else "–"

    print_table(
        ["share %", *shown],
        [
            *((share.name, *(cell(one, share.factors) for one in shown.values())) for share in found.shares),
            ("out-of-bag R²", *(f"{one.r2:.2f}" for one in shown.values())),
            ("trials", *(str(one.rows) for one in shown.values())),
        ],
        title="by task, ± standard deviation over trees",
    )


def _print_effects(changes: "list[Effect]") -> None:
    from distiller.cli.console import print_table, print_words

    rows = [
        (
            one.factor,
            one.level,
            one.reference,
            f"{100 * one.difference:+.2f}",
            f"{100 * one.low:+.2f} to {100 * one.high:+.2f}",
            f"{one.n} pairs" if one.how == "paired" else f"{one.n} trials",
        )
        for one in changes
        if one.low is not None and one.high is not None
    ]
    if rows:
        names = ["factor", "level", "against", "difference", "95 % interval", "from"]
        print_table(names, rows, title="effect of each level on the score, in points")
    if rare := len(changes) - len(rows):
        were = "level was" if rare == 1 else "levels were"
        print_words(f"{rare} {were} tried too rarely for an interval; `--json` has them")


def _print_counts(counts: "list[Count]", top: int) -> None:
    from distiller.cli.console import print_table

    print_table(
        ["factor", "level", f"in the top {top}", "expected", "tried"],
        [
            (one.factor, one.level, str(one.count), f"{one.expected:.1f}", str(one.tried))
            for one in counts
            if one.count or one.expected >= 0.5
        ],
        title=f"levels among the best {top} configurations of each task",
    )


def _print_best(best: "dict[str, list[Configuration]]", factors: tuple[str, ...]) -> None:
    from distiller.cli.console import print_table

    every = [one for listed in best.values() for one in listed]
    models = [name for name in ("teacher", "student") if len({getattr(one, name) for one in every}) > 1]
    print_table(
        ["task", "rank", *models, *factors, "score", "ratio", "runs"],
        [
            (
                task,
                str(rank),
                *(getattr(one, name) for name in models),
                *(one.levels[name] or "–" for name in factors),
                f"{100 * one.score:.1f}" + (f" ± {100 * one.sd:.1f}" if one.sd is not None else ""),
                "–" if one.ratio is None else f"{one.ratio:.3f}",
                str(one.runs),
            )
            for task, listed in best.items()
            for rank, one in enumerate(listed, 1)
        ],
        title="best configurations",
    )
