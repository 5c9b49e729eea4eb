"""What is known about a task before anything is distilled, and the file that stores it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from distiller.autodistiller.embeddings import count_words
from distiller.config import Config, Task
from distiller.errors import DataError
from distiller.files import write_json

if TYPE_CHECKING:
    from distiller.tasks.data import TaskData

SMALLEST = 50
"""Fewer labelled examples say nothing."""
READ = 2000
"""Texts of which the words are counted."""
DESCRIPTIONS = {
    "cola": "Decide whether a sentence is grammatically acceptable English.",
    "sst2": "Predict the sentiment of a sentence from a film review, positive or negative.",
    "mrpc": "Decide whether two sentences from the news are paraphrases with the same meaning.",
    "qqp": "Decide whether two questions ask the same thing.",
    "stsb": "Predict how similar the meaning of two sentences is, as a score.",
    "mnli": "Given a premise, decide whether a hypothesis is entailed, contradicted or neutral.",
    "qnli": "Decide whether a sentence contains the answer to a question.",
    "rte": "Given a premise, decide whether a hypothesis is entailed by it.",
    "wnli": "Decide whether a sentence with a pronoun resolved is entailed by the original sentence.",
    "boolq": "Answer a yes or no question about a passage.",
    "rotten-tomatoes": "Predict the sentiment of a sentence from a film review, positive or negative.",
    "imdb": "Predict the sentiment of a film review, positive or negative.",
    "squad": "Find the answer to a question in a passage.",
    "ud-ewt": "Label each word of a sentence with its part of speech.",
}
"""In a sentence, as Table 7 of arXiv:2109.11105 asks; the paper does not print its own."""


class TaskFacts(Config):
    """What is known about one task. `null`: unknown; the comparison with other tasks then ignores it."""

    name: str
    kind: str = "classification"
    examples: int | None = None
    """Labelled training examples."""
    labels: int | None = None
    """Classes; 1 for a regression."""
    pairs: bool | None = None
    """Whether an example is two texts."""
    bilstm: float | None = None
    """Development score of a small BiLSTM without pretraining."""
    description: str = ""
    words: dict[str, int] = {}
    """How often each word occurs in (a sample of) the training texts."""
    context: list[float] | None = None
    """A context embedding computed elsewhere; used instead of `words` where all tasks have one."""
    more: dict[str, float] = {}
    """Further numbers that make tasks comparable, by name: yours to add."""


def facts_of(task: Task, *, name: str, description: str | None = None, bilstm: bool = True) -> TaskFacts:
    """Read a task's data and find out what the comparison needs; `bilstm` trains a small model (needs torch).

    Raises `DataError` for data without labels, with only one label, or with fewer than 50 examples, and what
    `load_task` raises.
    """
    from distiller.tasks import load_task
    from distiller.tasks.data import sample, texts_of

    data = load_task(task)
    train: Any = data.splits["train"]
    _check(train, data, name)
    texts = texts_of(train)
    score = None
    if bilstm and data.kind in ("classification", "regression"):
        from distiller.autodistiller.bilstm import bilstm_score

        score = bilstm_score(data)
    return TaskFacts(
        name=name,
        kind=data.kind,
        examples=len(train),
        labels=len(data.labels) or 1,
        pairs=data.pairs or data.kind == "qa",
        bilstm=score,
        description=DESCRIPTIONS.get(task.name, "") if description is None else description,
        words=count_words(texts[i] for i in sample(len(texts), READ, seed=0)),
    )


def _check(train: Any, data: "TaskData", name: str) -> None:
    if not train.labelled:
        raise DataError(f"`{name}` has no labels", hint="advice needs labelled training examples: set task.label")
    if len(train) < SMALLEST:
        raise DataError(
            f"`{name}` has {len(train)} training examples, and advice needs at least {SMALLEST}",
            hint="label more, or start from a recipe: `distiller recipes`",
        )
    if data.kind in ("classification", "regression") and len(set(train.labels)) < 2:
        raise DataError(
            f"every training example of `{name}` has the same label", hint="is task.label the right column?"
        )


def read_facts(path: Path) -> dict[str, TaskFacts]:
    """The tasks in a file that `write_facts` wrote, by name. Raises `DataError`."""
    try:
        return {name: TaskFacts.model_validate(facts) for name, facts in json.loads(path.read_text("utf-8")).items()}
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        reason = getattr(error, "strerror", None) or "it is not what `distiller advise --add` writes"
        raise DataError(
            f"`{path}` cannot be used: {reason}", hint="remove it: advice then knows less of the tasks"
        ) from None


def write_facts(tasks: Mapping[str, TaskFacts], path: Path) -> Path:
    """Write what is known about tasks, in one step."""
    return write_json(
        path, {name: facts.model_dump(mode="json", exclude_defaults=True) for name, facts in tasks.items()}
    )
