"""Pseudo-labelling as a job of its own: a teacher translates a corpus, shard by shard, and can be stopped anywhere.

A shard is written beside its place and renamed when it is whole. A job that was killed decodes the shards that are
missing and nothing else, so no sentence is lost or repeated; sentences are numbered, and at the end they are counted.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from distiller.config import Config
from distiller.errors import OutputError
from distiller.models.load import weights_fingerprint
from distiller.record import write_json, write_text
from distiller.translation.config import Decoding
from distiller.translation.corpus import Pairs, text_fingerprint
from distiller.translation.engines import Engine, choose_engine, engine
from distiller.translation.model import TranslationModel
from distiller.translation.scores import closest
from distiller.translation.vocabulary import SharedVocabulary

JOB, SUMMARY, RESULT, SHARDS = "job.json", "summary.json", "hypotheses.jsonl", "shards"


class Scored(Config):
    """One translation."""

    text: str
    score: float
    """Log-probability over length to the power of the length penalty."""
    tokens: int


class Labelled(Config):
    """One sentence and its translations, best first: one line of `hypotheses.jsonl`."""

    row: int
    source: str
    hypotheses: list[Scored]


class Summary(Config):
    """What a job came to."""

    sentences: int
    tokens: int
    """Of the best hypotheses."""
    seconds: float
    """Decoding, over all the times that the job was started."""
    tokens_per_second: float
    engine: str


def pseudo_label(
    pairs: Pairs,
    model: TranslationModel,
    vocabulary: SharedVocabulary,
    decoding: Decoding,
    folder: Path,
    *,
    n_best: int = 1,
    shard_size: int = 1000,
    part: tuple[int, int] = (0, 1),
    seed: int = 0,
    resume: bool = False,
    console: Console | None = None,
) -> Summary | None:
    """Translate the source side of `pairs` into `folder`: `hypotheses.jsonl` and, last of all, `summary.json`.

    With `resume` a job that was stopped is continued, and a finished one returns its summary. `part` (i, n) decodes
    every n-th shard from the i-th, for n processes at once; the one that finds all shards there finishes the job, the
    others return `None`. Samples depend on `seed` and the shard alone. Raises `OutputError` when something else lies
    in `folder`.
    """
    facts = job_facts(pairs, model, vocabulary, decoding, n_best=n_best, shard_size=shard_size, seed=seed)
    if (done := _claim(folder, facts, resume=resume or part[1] > 1)) is not None:
        return done
    starts = range(0, len(pairs), shard_size)
    missing = [
        shard for shard in range(len(starts)) if shard % part[1] == part[0] and not _shard(folder, shard).is_file()
    ]
    with engine(model, vocabulary, decoding, n_best=n_best) as run, _bar(console, len(starts)) as advance:
        advance(sum(_shard(folder, shard).is_file() for shard in range(len(starts))), 0.0)
        for shard in missing:
            first = starts[shard]
            rows = range(first, min(first + shard_size, len(pairs)))
            started = time.perf_counter()
            found = _decode(run, vocabulary, [(row, pairs.source[row]) for row in rows], seed + shard)
            seconds = time.perf_counter() - started
            head = json.dumps({"seconds": seconds})
            _shard(folder, shard).parent.mkdir(exist_ok=True)
            write_text(_shard(folder, shard), "\n".join([head, *(line.model_dump_json() for line in found)]) + "\n")
            advance(1, sum(line.hypotheses[0].tokens for line in found) / max(seconds, 1e-9))
    if not all(_shard(folder, shard).is_file() for shard in range(len(starts))):
        return None
    return _finish(folder, len(starts), len(pairs), choose_engine(decoding.engine))


def job_facts(
    pairs: Pairs,
    model: TranslationModel,
    vocabulary: SharedVocabulary,
    decoding: Decoding,
    *,
    n_best: int,
    shard_size: int,
    seed: int,
) -> dict[str, Any]:
    """Everything that decides the translations: two jobs with equal facts have equal results."""
    return {
        "source": text_fingerprint(Pairs(pairs.name, pairs.source, None, pairs.lines)),
        "model": weights_fingerprint(model),
        "vocabulary": vocabulary.fingerprint,
        "decoding": decoding.model_dump(mode="json", exclude={"threads"}) | {"engine": choose_engine(decoding.engine)},
        "n_best": n_best,
        "shard_size": shard_size,
        "seed": seed,
    }


def read_labels(folder: str | Path) -> list[Labelled]:
    """The lines of a finished job. Raises `OutputError` for an unfinished one or a damaged file."""
    place = Path(folder)
    if not (place / SUMMARY).is_file():
        raise OutputError(
            f"`{folder}` holds no finished pseudo-labels", hint="continue the job: `distiller pseudo-label … --resume`"
        )
    lines = (place / RESULT).read_text(encoding="utf-8").strip("\n").split("\n")
    try:
        return [Labelled.model_validate_json(line) for line in lines]
    except ValueError:
        raise OutputError(f"`{place / RESULT}` is damaged", hint="start the job again in another folder") from None


def training_pairs(
    labels: Sequence[Labelled],
    *,
    inter: str = "data_mixing",
    gold: Mapping[str, Sequence[str]] | None = None,
    closest_by: Literal["bleu", "chrf"] = "bleu",
) -> tuple[list[str], list[str]]:
    """Sources and pseudo-labels to train on; a sentence whose translation is empty is left out.

    `data_mixing` keeps every hypothesis as a pair; `local_update` the one closest to a translation of the same
    sentence in `gold` by sentence BLEU or chrF, and the best one where there is none.
    Source: "NMT Distillation" (NVIDIA NeMo, 2021); Kim and Rush 2016, arXiv:1606.07947, section 3.3.
    """
    known = gold or {}
    sources, targets = [], []
    for label in labels:
        texts = [found.text for found in label.hypotheses if found.text.strip()]
        if inter == "local_update" and texts:
            references = known.get(label.source)
            texts = [texts[closest(texts, references, by=closest_by) if references else 0]]
        sources += [label.source] * len(texts)
        targets += texts
    return sources, targets


def _decode(run: Engine, vocabulary: SharedVocabulary, rows: Sequence[tuple[int, str]], seed: int) -> list[Labelled]:
    found = run(vocabulary.encode([source for _, source in rows]), seed)
    texts = [vocabulary.decode([one.tokens for one in hypotheses]) for hypotheses in found]
    return [
        Labelled(
            row=row,
            source=source,
            hypotheses=[
                Scored(text=text, score=one.score, tokens=len(one.tokens))
                for text, one in zip(said, hypotheses, strict=True)
            ],
        )
        for (row, source), said, hypotheses in zip(rows, texts, found, strict=True)
    ]


def _claim(folder: Path, facts: dict[str, Any], *, resume: bool) -> Summary | None:
    """Make the folder this job's; the summary if it is finished already."""
    try:
        stored = json.loads((folder / JOB).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stored = None
    if stored is None:
        if folder.is_dir() and any(path.suffix != ".part" for path in folder.iterdir()):
            raise OutputError(f"`{folder}` is not empty and not a pseudo-label job", hint="choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOB, facts)
        return None
    if stored != json.loads(json.dumps(facts)):
        changed = ", ".join(f"`{name}`" for name in facts if stored.get(name) != facts[name])
        raise OutputError(f"`{folder}` holds another job, which differs in {changed}", hint="choose another folder")
    if not resume:
        raise OutputError(f"`{folder}` holds this job already", hint="continue it: --resume")
    if (folder / SUMMARY).is_file():
        return Summary.model_validate_json((folder / SUMMARY).read_text(encoding="utf-8"))
    return None


def _finish(folder: Path, shards: int, sentences: int, engine: str) -> Summary:
    """Join the shards in order, count the sentences, and write the summary last."""
    seconds, lines = 0.0, []
    for shard in range(shards):
        head, *rest = _shard(folder, shard).read_text(encoding="utf-8").strip("\n").split("\n")
        seconds += json.loads(head)["seconds"]
        lines += rest
    found = [Labelled.model_validate_json(line) for line in lines]
    if [line.row for line in found] != list(range(sentences)):
        raise OutputError(f"the shards in `{folder}` do not hold each sentence once", hint="start the job again")
    write_text(folder / RESULT, "\n".join(lines) + "\n")
    tokens = sum(line.hypotheses[0].tokens for line in found)
    summary = Summary(
        sentences=sentences,
        tokens=tokens,
        seconds=seconds,
        tokens_per_second=tokens / max(seconds, 1e-9),
        engine=engine,
    )
    write_json(folder / SUMMARY, summary.model_dump(mode="json"))
    return summary


def _shard(folder: Path, shard: int) -> Path:
    return folder / SHARDS / f"{shard:06d}.jsonl"


@contextmanager
def _bar(console: Console | None, shards: int) -> Iterator[Callable[[int, float], None]]:
    """Progress on stderr: shards, time left, tokens a second."""
    if console is None:
        yield lambda done, speed: None
        return
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(
        TextColumn("pseudo-labels"), *columns, TextColumn("{task.fields[speed]}"), console=console, transient=True
    ) as bar:
        task = bar.add_task("", total=shards, speed="")
        yield lambda done, speed: bar.update(task, advance=done, speed=f"{speed:.0f} tokens/s" if speed else "")
