"""`distiller mlm`: a masked language model of the task's own text, for the contextual operator."""

from pathlib import Path
from typing import Annotated

import typer

from distiller.cli.run import OVERRIDES_HELP, RUN
from distiller.errors import ConfigError


def mlm(
    source: Annotated[str, RUN],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help=OVERRIDES_HELP)] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The new model folder.")] = Path("outputs/mlm"),
    start: Annotated[
        str | None, typer.Option(help="Encoder whose weights it starts from. By default the run's teacher.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimisation steps at most.")] = 2000,
    minutes: Annotated[float, typer.Option(min=0.01, help="Minutes at most.")] = 5.0,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of the optimiser.")] = 3e-4,
    seed: Annotated[int, typer.Option(help="Of the masks and the order of the texts.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Train a small masked language model on the training text of a run, for the operator `contextual`.

    Example:

        distiller mlm tinybert task.train=reviews.csv -o outputs/mlm --minutes 5
    """
    from distiller.augment.train_masked_lm import train_masked_lm
    from distiller.cli.console import console, print_table
    from distiller.cli.recipes import load
    from distiller.tasks import load_task
    from distiller.tasks.data import texts_of

    run = load(source, overrides or [])
    if start is None and run.teacher is None:
        raise ConfigError("the run has no teacher to start from", hint="--start MODEL")
    texts = list(dict.fromkeys(text for split in load_task(run.task).transfer for text in texts_of(split)))
    result = train_masked_lm(
        texts,
        output,
        start=start or (run.teacher.model if run.teacher else ""),
        steps=steps,
        minutes=minutes,
        learning_rate=learning_rate,
        seed=seed,
    )
    if json:
        console().print_json(data={"texts": len(texts), **result._asdict(), "folder": str(result.folder)})
        return
    print_table(
        ["folder", "texts", "steps", "seconds", "loss before", "loss"],
        [
            (
                str(result.folder),
                f"{len(texts):,}",
                str(result.steps),
                f"{result.seconds:.0f}",
                f"{result.loss_before:.2f}",
                f"{result.loss:.2f}",
            )
        ],
    )
