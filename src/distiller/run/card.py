"""The card of a student: README.md with the hub's metadata and what a reader needs to judge the model."""

import re
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from distiller.config import to_yaml
from distiller.config.translation import TranslationRun
from distiller.files import write_text
from distiller.record import Record

FILE = "README.md"
PIPELINES = {
    "classification": "text-classification",
    "multilabel": "text-classification",
    "regression": "text-classification",
    "tagging": "token-classification",
    "qa": "question-answering",
    "translation": "translation",
}
TRANSLATE = """from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

model = AutoModelForSeq2SeqLM.from_pretrained("{folder}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")
inputs = tokenizer(["some text"], return_tensors="pt")
print(tokenizer.batch_decode(model.generate(**inputs, num_beams=4, max_new_tokens=128), skip_special_tokens=True))"""
ANSWER = """from transformers import AutoModelForQuestionAnswering, AutoTokenizer

model = AutoModelForQuestionAnswering.from_pretrained("{folder}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")
inputs = tokenizer("the question", "the text", return_tensors="pt")
found = model(**inputs)
first, last = int(found.start_logits.argmax()), int(found.end_logits.argmax())
print(tokenizer.decode(inputs["input_ids"][0, first : last + 1], skip_special_tokens=True))"""
CODE = {"qa": ANSWER, "translation": TRANSLATE}
"""For kinds without a pipeline: the one for questions went with transformers 5."""
BODY = """
# {title}

A small model for {kind} that was distilled from a larger one with Distiller (`pip install distiller-nlp`).

| | {metric} | parameters | MB | ms/text |
|---|---|---|---|---|
{rows}

Scores are those of {examples:,} development rows{seeds}. The best checkpoint was chosen on the same rows, so expect a
little less on new ones.
Latency is one text at a time on {machine}.

## Use

```python
{use}
```

## Training

- teacher: {teacher}
- data: {data}
- fingerprint of the data (SHA-256): `{fingerprint}`
- fingerprint of the weights (SHA-256): `{weights}`
- versions: {versions}

The command that repeats it, with the run below as `run.yaml`:

```console
distiller run run.yaml
```

```yaml
{yaml}
```

## Limits

{limits}
"""


def write_card(record: Record, folder: Path) -> Path:
    """Write the card of `record`'s student into its model folder, in one step."""
    return write_text(folder / FILE, card(record))


def card(record: Record) -> str:
    """The card as Markdown behind YAML metadata."""
    teacher = record.run.teacher
    origin = " + ".join(_plain(Path(name).name) for name in teacher.names) if teacher else "soft labels"
    title = f"{_plain(record.data.task)}, distilled from {origin}"
    pipeline = PIPELINES.get(record.data.kind)
    scores = record.student.scores
    source = None if isinstance(record.run, TranslationRun) else record.run.task.data
    metadata = ModelCardData(
        model_name=title,
        library_name="transformers",
        pipeline_tag=pipeline,
        tags=["knowledge-distillation", "distiller"],
        base_model=teacher.model if teacher and teacher.model and _is_hub_id(teacher.model) else None,
        datasets=[source] if source and _is_hub_id(source) else None,
        eval_results=[
            EvalResult(
                task_type=pipeline or record.data.kind,
                dataset_type=_plain(record.data.task),
                dataset_name=_plain(record.data.task),
                dataset_split="dev",
                metric_type=name,
                metric_value=round(value, 4),
            )
            for name, value in scores.items()
        ],
    )
    body = BODY.format(
        title=title,
        kind=record.data.kind.replace("_", "-"),
        metric=record.metric,
        rows="\n".join(_rows(record)),
        examples=record.data.examples["dev"],
        seeds=f", means over {len(record.seeds)} seeds" if len(record.seeds) > 1 else "",
        machine=f"{record.machine.get('processor')} ({record.machine.get('accelerator')})",
        use=how_to_load(record),
        teacher=", ".join(f"`{_plain(name)}`" for name in teacher.names)
        if teacher
        else "the probabilities that its training rows carry",
        data=", ".join(f"{count:,} {name}" for name, count in record.data.examples.items()) + " rows",
        fingerprint=record.data.fingerprint,
        weights=record.student.fingerprint,
        versions=", ".join(f"{name} {version}" for name, version in record.versions.items()),
        yaml=to_yaml(record.run, exclude_defaults=True).rstrip().replace("```", "'''"),  # it stands in such a block
        limits="\n".join(f"- {one}" for one in _limits(record)),
    )
    return f"---\n{metadata.to_yaml()}\n---\n{body}"


def _rows(record: Record) -> Iterable[str]:
    times = record.cost.milliseconds_per_example
    for name, facts in record.models.items():
        label = f"**{name}**" if facts is record.student else name
        score = f"{facts.scores[record.metric]:.4f}"
        if record.metric in facts.spread:
            score += f" ± {facts.spread[record.metric].std:.4f}"
        time = times.get("teacher" if facts is record.teacher else "student")
        # a teacher known only by its translations has no size
        sizes = [f"{facts.parameters_with_head:,}", f"{facts.megabytes:.1f}"] if facts.parameters else ["–", "–"]
        yield "| " + " | ".join([label, score, *sizes, "–" if time is None else f"{time:.2f}"]) + " |"


def how_to_load(record: Record, folder: str = "this/model") -> str:
    """A few lines of Python that use the student in `folder` and need only `transformers`."""
    kind, length = record.data.kind, record.run.task.max_length or 512
    if kind in CODE:
        return CODE[kind].format(folder=folder)
    options = f', model="{folder}"'
    if PIPELINES[kind] == "text-classification":
        options += f", truncation=True, max_length={length}"
    if kind == "multilabel":
        options += ", top_k=None"
    given = '{"text": "the first text", "text_pair": "the second"}' if record.run.task.text_pair else '"some text"'
    return (
        f'from transformers import pipeline\n\nstudent = pipeline("{PIPELINES[kind]}"{options})\n'
        f"print(student({given}))"
    )


def _limits(record: Record) -> Iterable[str]:
    data = record.data
    length = record.run.task.max_length
    if length:
        cut = sum(data.truncated.values())
        yield f"It reads at most {length} tokens and was trained so ({cut:,} of the rows were cut)."
    if data.labels:
        names = ", ".join(f"`{_plain(label)}`" for label in data.labels[:20])
        more = f" and {len(data.labels) - 20} more" if len(data.labels) > 20 else ""
        yield f"It knows these labels and no others: {names}{more}."
    yield f"It learnt from {data.examples['train']:,} rows of one source; nothing is known of texts of another kind."
    yield "It imitates its teacher, mistakes and biases included."
    for note in record.notes:
        yield _plain(note)


def _plain(text: str) -> str:
    """A text that cannot break out of a line, a table cell or a code span."""
    return re.sub(r"[\s|`<>]+", " ", text).strip()


def _is_hub_id(name: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not Path(name).exists() and not name.startswith(".")
