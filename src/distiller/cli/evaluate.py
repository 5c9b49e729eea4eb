"""`distiller evaluate`: scores of a model on a split."""

from pathlib import Path
from typing import Annotated

import typer

from distiller.cli.run import OVERRIDES_HELP


def evaluate(
    model: Annotated[str, typer.Argument(help="The output folder of a run, or a model with --run.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help=OVERRIDES_HELP)] = None,
    run: Annotated[Path | None, typer.Option(help="The run file whose task is scored, for any other model.")] = None,
    split: Annotated[str, typer.Option(help="`dev`, `test` or another split of the task.")] = "dev",
    skip_bad: Annotated[bool, typer.Option(help="Leave out rows that cannot be used, and count them.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score a distilled student, or any fine-tuned model, on a task.

    Examples:

        distiller evaluate outputs/rte
        distiller evaluate outputs/reviews --split test
        distiller evaluate ./my-model --run run.yaml
        distiller evaluate Helsinki-NLP/opus-mt-de-en task.dev.source=val.de task.dev.target=val.en evaluation.beam=1
    """
    from distiller.cli.console import console, print_table
    from distiller.scoring import evaluate as score

    changed = [*(overrides or []), *(["task.skip_bad=true"] if skip_bad else [])]
    scores = score(model, run=run, split=split, overrides=changed)
    if json:
        console().print_json(data=scores)
    else:
        print_table(["metric", split], [(name, f"{value:.4f}") for name, value in scores.items()])
