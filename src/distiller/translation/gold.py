"""Models trained on gold pairs alone (teachers and baselines); each is trained once for all runs that need it."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PreTrainedModel

from distiller.cache.folders import FolderCache
from distiller.config.translation import Objective, Optimisation, Shape, TranslationRun
from distiller.files import write_json
from distiller.training.fit import Fit
from distiller.training.shared_work import NO_MATTER, kept_training
from distiller.translation.batches import Examples
from distiller.translation.corpus import Splits
from distiller.translation.model import build_model
from distiller.translation.pairs import Pairs, text_fingerprint
from distiller.translation.students import save_translator, token_ids
from distiller.translation.token_rows import kept_rows
from distiller.translation.tokenizer import TranslationTokenizer
from distiller.translation.training_data import TranslationData
from distiller.translation.translate import evaluate

FIT = "fit.json"
GOLD_ALONE = Objective(beta1=0.0, gamma1=1.0)


def gold_data(
    tokenizer: TranslationTokenizer, train: Pairs, dev: Pairs, run: TranslationRun, store: FolderCache | None = None
) -> TranslationData:
    """Gold pairs as tokens, scored by greedy decoding on the development pairs.

    A model that has not learnt to end its sentences would generate up to the maximum length, so in these evaluations
    decoding stops a little after the length of the longest reference.
    """
    examples = Examples(
        kept_rows(store, tokenizer, train.source, targets=False),
        kept_rows(store, tokenizer, train.translations, targets=True),
        gold=len(train),
    )
    longest = min(run.evaluation.max_length, max(map(len, tokenizer.encode_targets(dev.translations))) + 5)
    greedy = run.evaluation.model_copy(update={"beam": 1, "sampling_top_k": None, "max_length": longest})
    return TranslationData(
        examples,
        1.0,
        lambda model: evaluate(model, tokenizer, dev, greedy).values,
        text_fingerprint(train, dev),
        tokenizer,
        len(dev),
    )


def trained_teacher(
    run: TranslationRun, splits: Splits, tokenizer: TranslationTokenizer, store: FolderCache, console: Console | None
) -> tuple[Path, Fit]:
    """The teacher that the run describes, trained on all training pairs unless it is in the cache."""
    wish = run.teacher
    return gold_training(
        store,
        shape_facts(wish.shape),
        wish.training,
        gold_data(tokenizer, splits.train, splits.dev, run, store),
        seed=wish.seed,
        console=console,
        title="train the teacher",
        start=lambda: build_model(wish.shape, tokens=token_ids(tokenizer), seed=wish.seed),
    )


def shape_facts(shape: Shape) -> dict[str, Any]:
    """Everything in a shape on which a training from random weights depends."""
    return {"shape": shape.sizes(), "form": shape.form(), "dropout": shape.dropout, "embeddings": shape.embeddings}


def gold_training(
    store: FolderCache,
    model: dict[str, Any],
    training: Optimisation,
    data: TranslationData,
    *,
    seed: int,
    title: str,
    console: Console | None,
    start: Callable[[], PreTrainedModel],
) -> tuple[Path, Fit]:
    """The folder of a model trained on gold pairs alone, and the result of its training.

    `model` holds everything on which the model that `start` makes depends.
    """
    facts = {
        "model": model,
        "training": training.model_dump(mode="json", exclude=NO_MATTER),
        "seed": seed,
        "vocabulary": data.tokenizer.fingerprint,
        "text": data.fingerprint,
    }

    def keep(trained: PreTrainedModel, done: Fit, folder: Path) -> None:
        save_translator(trained, data.tokenizer, folder)
        write_json(folder / FIT, asdict(done))

    folder = kept_training(
        store,
        "translators",
        facts,
        start,
        data,
        training,
        objective=GOLD_ALONE,
        keep=keep,
        seed=seed,
        title=title,
        console=console,
    )
    return folder, Fit(**json.loads((folder / FIT).read_text(encoding="utf-8")))
