"""Models and dictionaries whose answers are known: a masked LM with one ranking, a small WordNet, vectors by hand."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch
from hypothesis import strategies as st
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from distiller.augment.passage import Passage, split_words

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
RANKING = ["the", "##ly", "good", "Film", "3", "x", "plot", "bad", ",", "actor"]
"""Best first. Content words among them: good, film, plot, bad, actor."""
KNOWN = ["silly", "story", "great", "un", "##seen", "was", "and", "."]

SYNSETS = {
    "noun": [["car", "auto", "motor_vehicle"], ["dog", "Canis_familiaris"], ["film", "movie"], ["box", "T-Box"]],
    "verb": [["run", "hurry"], ["film", "shoot"]],
    "adj": [["good", "fine(p)"], ["quick", "fast"]],
    "adv": [["quickly", "fast"]],
}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text("ab Z.,'é-ा\n1’", max_size=60)
"""Any text, and texts rich in what words and gaps are made of."""


def write_masked_lm(folder: Path, *, scores: Sequence[float] | None = None, case: bool = False) -> str:
    """A BERT whose scores are the same at every place: those of `RANKING`, falling by 1, or `scores`."""
    words = [*SPECIAL, *RANKING, *KNOWN]
    config = BertConfig(
        vocab_size=len(words) + 3,  # rounded up, as tables often are
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=32,
    )
    model = BertForMaskedLM(config)
    ranked = torch.full((config.vocab_size,), -50.0)
    given = torch.as_tensor(scores if scores is not None else [float(-n) for n in range(len(RANKING))])
    ranked[len(SPECIAL) : len(SPECIAL) + len(given)] = given
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.zero_()
        model.cls.predictions.bias.copy_(ranked)
    model.save_pretrained(folder)
    tokenizer = BertTokenizerFast(vocab={word: n for n, word in enumerate(words)}, do_lower_case=not case)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write_wordnet(folder: Path) -> str:
    """`SYNSETS` in WordNet's format, the nouns in two files, as the package that carries it has them."""
    folder.mkdir(exist_ok=True)
    licence = "  1 This software and database is being provided to you.  \n"
    for part, synsets in SYNSETS.items():
        lines, offsets, at = [], {}, len(licence)
        for words in synsets:
            for word in words:
                offsets.setdefault(word.partition("(")[0].lower(), []).append(at)
            listed = " ".join(f"{word} 0" for word in words)
            lines.append(f"{at:08d} 05 {part[0]} {len(words):02x} {listed} 000 | a gloss; of no use  \n")
            at += len(lines[-1])
        entries = [
            f"{word} {part[0]} {len(at)} 1 @ {len(at)} 0 " + " ".join(f"{offset:08d}" for offset in at) + "  \n"
            for word, at in sorted(offsets.items())
        ]
        (folder / f"index.{part}").write_text(licence + "".join(entries))
        if part == "noun":
            (folder / "data.noun1").write_text(licence + "".join(lines[:2]).rstrip("\n"))
            (folder / "data.noun2").write_text("".join(lines[2:]))
        else:
            (folder / f"data.{part}").write_text(licence + "".join(lines))
    return str(folder)


def write_glove(folder: Path) -> str:
    path = folder / "glove.txt"
    path.write_text("unseen 1 0\nhidden 0.9 0.1\ninvisible 1 0.3\n1990s 2 0.1\nloud 0 1\n")
    return str(path)


def rngs(count: int, seed: int = 0) -> list[Random]:
    return [Random(f"{seed}/{n}") for n in range(count)]


def after(passage: Passage, edit: object) -> str:
    assert isinstance(edit, tuple)
    return passage.replaced(edit).text


def protect(text: str, *words: int, fenced: bool = False) -> Passage:
    passage = split_words(text)
    return Passage(passage.words, passage.gaps, frozenset(words), fenced)
