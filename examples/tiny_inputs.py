"""What the examples work on when they are given nothing: a small file, and BERT models with random weights."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

MOODS = {"good": ["good", "great", "lovely"], "bad": ["bad", "awful", "dull"]}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "a", "story", "and", "music"]
VOCABULARY = {word: index for index, word in enumerate([*WORDS, *MOODS["good"], *MOODS["bad"]])}
LABELS = ["bad", "good"]


def tiny_rows(rows: int = 200, *, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label): each text holds one word that decides its label."""
    rng = random.Random(seed)
    made = []
    for row in range(rows):
        label = LABELS[row % 2]
        words = [rng.choice(WORDS[5:]) for _ in range(rng.randint(2, 8))]
        words.insert(rng.randrange(len(words)), rng.choice(MOODS[label]))
        made.append((" ".join(words), label))
    return made


def tiny_file(path: Path) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *tiny_rows()])
    return str(path)


def tiny_conll(path: Path, *, seed: int = 0) -> str:
    """A word and its tag a line, a blank line between sentences: words of a mood are to be found."""
    lines = []
    for text, _ in tiny_rows(200, seed=seed):
        for word in text.split():
            mood = next((mood for mood, words in MOODS.items() if word in words), None)
            lines.append(f"{word}\t{mood.upper() if mood else 'O'}")
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def tiny_squad(path: Path, *, seed: int = 0) -> str:
    """Questions about short texts, in the format of SQuAD: the answer is the word of a mood."""
    paragraphs = []
    for number, (text, mood) in enumerate(tiny_rows(200, seed=seed)):
        word = next(word for word in text.split() if word in MOODS[mood])
        start = f" {text} ".index(f" {word} ")
        answers = [{"text": word, "answer_start": start}]
        question = {"id": f"{seed}-{number}", "question": "was the film a music", "answers": answers}
        paragraphs.append({"context": text, "qas": [question]})
    data = {"version": "1.1", "data": [{"title": "moods", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


def tiny_tokenizer() -> BertTokenizerFast:
    return BertTokenizerFast(vocab=VOCABULARY, model_max_length=40)


def tiny_bert(layers: int, width: int = 32, *, seed: int = 0) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    shape = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 2 * width,
    }
    config = BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=40, **shape)
    config.id2label, config.label2id = dict(enumerate(LABELS)), {label: i for i, label in enumerate(LABELS)}
    return BertForSequenceClassification(config)


def tiny_model(folder: Path, *, layers: int) -> str:
    """A folder with an encoder that has no head yet."""
    tiny_bert(layers).bert.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def tiny_dataset(rows: int, *, seed: int = 0) -> list[dict[str, list[int] | int]]:
    """Examples as a `transformers.Trainer` takes them."""
    tokenizer = tiny_tokenizer()
    return [
        {"input_ids": tokenizer(text)["input_ids"], "labels": LABELS.index(label)}
        for text, label in tiny_rows(rows, seed=seed)
    ]


def taught(
    model: Any, tokenizer: Any = None, rows: list[tuple[str, int]] | None = None, *, rate: float = 2e-3, steps: int = 60
) -> Any:
    """`model`, trained in a plain loop on texts and their classes: a teacher that knows something."""
    tokenizer = tokenizer or tiny_tokenizer()
    rows = rows or [(text, LABELS.index(label)) for text, label in tiny_rows(320, seed=5)]
    optimizer = torch.optim.AdamW(model.train().parameters(), rate)
    for step in range(steps):
        chosen = [rows[(32 * step + i) % len(rows)] for i in range(32)]
        batch = tokenizer([text for text, _ in chosen], padding=True, truncation=True, return_tensors="pt")
        model(**batch, labels=torch.tensor([label for _, label in chosen])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()
