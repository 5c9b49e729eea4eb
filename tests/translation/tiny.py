"""A language that can be learnt in seconds: each German-looking word has one English-looking translation."""

import random
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from distiller.config import parse_run
from distiller.config.translation import Shape, TranslationRun, Vocabulary
from distiller.translation.model import TokenIds, build_model
from distiller.translation.students import save_translator
from distiller.translation.tokenizer import TranslationTokenizer, train_tokenizer

WORDS = {
    "eins": "one",
    "zwei": "two",
    "drei": "three",
    "vier": "four",
    "haus": "house",
    "baum": "tree",
    "rot": "red",
    "blau": "blue",
}
SHAPE = {"encoder_layers": 1, "decoder_layers": 1, "width": 32, "ffn": 64, "heads": 2, "dropout": 0.0}


def sentences(count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Distinct sentence pairs."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        words = [rng.choice(list(WORDS)) for _ in range(rng.randint(2, 5))]
        found[" ".join(words)] = " ".join(WORDS[word] for word in words)
    return list(found.items())


def write_pairs(folder: Path, name: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """`name.de` and `name.en`, as a `Parallel` names them."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, language in enumerate(("de", "en")):
        text = "".join(pair[side] + "\n" for pair in pairs)
        (folder / f"{name}.{language}").write_text(text, encoding="utf-8")
    return {"source": str(folder / f"{name}.de"), "target": str(folder / f"{name}.en")}


def vocabulary(size: int = 48) -> TranslationTokenizer:
    text = [side for pair in sentences(200) for side in pair]
    return train_tokenizer(text, Vocabulary(size=size))


def model(pieces: int, *, seed: int = 0, **shape: Any) -> PreTrainedModel:
    return build_model(Shape.model_validate(SHAPE | shape), tokens=TokenIds.own(pieces), seed=seed)


def translator(folder: Path, *, seed: int = 0) -> tuple[PreTrainedModel, TranslationTokenizer]:
    """A model folder with random weights."""
    words = vocabulary()
    made = model(len(words), seed=seed).eval()
    save_translator(made, words, folder)
    return made, words


def tiny_run(folder: Path, **fields: Any) -> TranslationRun:
    """A whole run on tiny text: teacher of two encoder layers, student of one."""
    pairs = sentences(300)
    data: dict[str, Any] = {
        "task": {
            "kind": "translation",
            "train": write_pairs(folder, "train", pairs[:260]),
            "dev": write_pairs(folder, "dev", pairs[260:]),
        },
        "vocabulary": {"size": 48},
        "teacher": {"shape": SHAPE | {"encoder_layers": 2}, "training": pace(6)},
        "student": {"shape": SHAPE},
        "training": pace(6),
        "evaluation": {"beam": 2, "max_length": 20},
        "output": str(folder / "out"),
        "cache": str(folder / "cache"),
    }
    return parse_run(data | fields)


def pace(epochs: float) -> dict[str, Any]:
    """An optimisation that a tiny model learns with."""
    return {"epochs": epochs, "batch_tokens": 300, "learning_rate": 8e-3, "evaluations": 2}
