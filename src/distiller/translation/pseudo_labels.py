"""Pseudo-labelling as a job of its own: a teacher translates a corpus, shard by shard, and can be stopped anywhere.

A shard is written beside its place and renamed when it is whole. A job that was killed decodes the shards that are
missing and nothing else, so no sentence is lost or repeated; sentences are numbered, and at the end they are counted.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from distiller.config import Config
from distiller.config.decoding import Filter
from distiller.errors import ConfigError, DamagedError, OutputError, warn
from distiller.files import JOB, SUMMARY, alone, check_sums, claim_job, json_text, write_last, write_text
from distiller.translation.corpus import Pairs, text_fingerprint
from distiller.translation.scores import closest
from distiller.translation.translators import Labelled, Translator

QUIET_SECONDS = 10.0
"""Between two lines of progress where there is no terminal."""
RESULT, SHARDS = "hypotheses.jsonl", "shards"


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
    translator: Translator,
    folder: Path,
    *,
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
    facts = job_facts(pairs, translator, shard_size=shard_size, seed=seed)
    if (done := claim_job(folder, facts, what="pseudo-label", resume=resume or part[1] > 1)) is not None:
        return Summary.model_validate_json(done)
    starts = range(0, len(pairs), shard_size)
    mine = [shard for shard in range(len(starts)) if shard % part[1] == part[0]]
    missing = [shard for shard in mine if not _is_whole(_shard(folder, shard))]
    with translator.begin() as translate, _bar(console, len(mine), len(mine) - len(missing)) as advance:
        for shard in missing:
            first = starts[shard]
            rows = range(first, min(first + shard_size, len(pairs)))
            started = time.perf_counter()
            said = translate([pairs.source[row] for row in rows], seed + shard)
            seconds = time.perf_counter() - started
            found = [
                Labelled(row=row, source=pairs.source[row], hypotheses=hypotheses)
                for row, hypotheses in zip(rows, said, strict=True)
            ]
            lines = [line.model_dump_json() for line in found]
            head = json.dumps({"seconds": seconds, "sha256": _sum(lines)})
            _shard(folder, shard).parent.mkdir(exist_ok=True)
            write_text(_shard(folder, shard), "\n".join([head, *lines]) + "\n")
            advance(sum(line.hypotheses[0].tokens for line in found), seconds)
    if not all(_shard(folder, shard).is_file() for shard in range(len(starts))):
        return None
    with alone(folder):
        if (folder / SUMMARY).is_file():  # another process found all of them first
            return Summary.model_validate_json((folder / SUMMARY).read_text(encoding="utf-8"))
        return _finish(folder, len(starts), len(pairs), translator.engine)


def job_facts(pairs: Pairs, translator: Translator, *, shard_size: int, seed: int) -> dict[str, Any]:
    """Everything that decides the translations: two jobs with equal facts have equal results."""
    source = text_fingerprint(Pairs(pairs.name, pairs.source, None, pairs.lines))
    return {"source": source, **translator.facts, "shard_size": shard_size, "seed": seed}


def read_labels(folder: str | Path) -> list[Labelled]:
    """The lines of a finished job. Raises `OutputError` for an unfinished one, `DamagedError` for a damaged file."""
    place = Path(folder)
    if not (place / SUMMARY).is_file():
        raise OutputError(
            f"`{folder}` holds no finished pseudo-labels", hint="continue the job: `distiller pseudo-label … --resume`"
        )
    check_sums(place)
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
    sentence in `gold` by sentence BLEU or chrF, and the best one where there is none. What several teachers make of a
    sentence is compared together. Source: "NMT Distillation" (NVIDIA NeMo, 2021); Kim and Rush 2016,
    arXiv:1606.07947, section 3.3.
    """
    known = gold or {}
    said: dict[str, list[str]] = {}
    pairs: list[tuple[str, str]] = []
    for label in labels:
        texts = [found.text for found in label.hypotheses if found.text.strip()]
        pairs += [(label.source, text) for text in texts]
        said.setdefault(label.source, []).extend(texts)
    if inter == "local_update":
        pairs = []
        for source, texts in said.items():
            references = known.get(source)
            if texts:
                pairs.append((source, texts[closest(texts, references, by=closest_by) if references else 0]))
    return [source for source, _ in pairs], [target for _, target in pairs]


def filtered(
    labels: Sequence[Labelled], wish: Filter, seen: set[tuple[str, str]] | None = None
) -> tuple[list[Labelled], dict[str, int]]:
    """`labels` of one teacher without what `wish` leaves out, and how many translations each rule left out.

    `seen` are the pairs that were there before, to which these are added. Raises `ConfigError` where the teacher's
    scores are asked for and it gave none.
    """
    kept = list(labels)
    counts: dict[str, int] = {}
    if wish.worst:
        scores = [label.hypotheses[0].score for label in kept if label.hypotheses]
        if len(set(scores)) < 2:
            raise ConfigError(
                "the filter `worst` asks for the teacher's scores, and these translations have none",
                hint="set sequence.filter.worst=0",
            )
        ranked = sorted(kept, key=lambda label: label.hypotheses[0].score if label.hypotheses else float("-inf"))
        worst = {id(label) for label in ranked[: round(wish.worst * len(ranked))]}
        counts["of the lowest scores"] = len(worst)
        kept = [label for label in kept if id(label) not in worst]
    seen = set() if seen is None else seen
    found = []
    for label in kept:
        hypotheses = []
        for one in label.hypotheses:
            reason = _reason(label.source, one.text, wish, seen)
            seen.add((label.source, one.text))
            if reason is None:
                hypotheses.append(one)
            else:
                counts[reason] = counts.get(reason, 0) + 1
        found.append(label.model_copy(update={"hypotheses": hypotheses}))
    return [label for label in found if label.hypotheses], counts


def _reason(source: str, text: str, wish: Filter, seen: set[tuple[str, str]]) -> str | None:
    """Why a translation is left out."""
    if wish.duplicates and (source, text) in seen:
        return "seen before"
    if wish.copies and text.strip() == source.strip():
        return "copies of their sentence"
    if wish.length_ratio is not None:
        ratio = max(1, len(text)) / max(1, len(source))
        if not 1 / wish.length_ratio <= ratio <= wish.length_ratio:
            return "of another length"
    return None


def _finish(folder: Path, shards: int, sentences: int, engine: str) -> Summary:
    """Join the shards in order, count the sentences, and write the summary last."""
    seconds, lines = 0.0, []
    for shard in range(shards):
        path = _shard(folder, shard)
        if (read := _read(path)) is None:
            raise DamagedError(f"`{path}` is not what was written there", hint="--resume makes it again")
        seconds += read[0]
        lines += read[1]
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
    write_last(folder / SUMMARY, json_text(summary.model_dump(mode="json")), [JOB, RESULT])
    return summary


def _shard(folder: Path, shard: int) -> Path:
    return folder / SHARDS / f"{shard:06d}.jsonl"


def _read(path: Path) -> tuple[float, list[str]] | None:
    """Seconds and lines of a shard, or `None` where they are not what was written."""
    try:
        head, *lines = path.read_text(encoding="utf-8").strip("\n").split("\n")
        about = json.loads(head)
        return (float(about["seconds"]), lines) if about["sha256"] == _sum(lines) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_whole(path: Path) -> bool:
    """Whether a shard is there as it was written; a damaged one is named."""
    if _read(path) is not None:
        return True
    if path.is_file():
        warn(f"`{path}` is not what was written there: it is made again")
    return False


def _sum(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@contextmanager
def _bar(console: Console | None, shards: int, before: int) -> Iterator[Callable[[int, float], None]]:
    """Progress on stderr: shards, tokens a second, what is left. Where there is no terminal, a line now and then."""
    done, tokens, seconds, last = before, 0, 0.0, time.perf_counter()

    def advance(more: int, took: float) -> None:
        nonlocal done, tokens, seconds, last
        done, tokens, seconds = done + 1, tokens + more, seconds + took
        left = seconds / (done - before) * (shards - done)
        speed = f"{tokens / max(seconds, 1e-9):.0f} tokens/s"
        if bar is not None:
            bar.update(task, completed=done, speed=speed)
        elif console is not None and (time.perf_counter() - last > QUIET_SECONDS or done == shards):
            last = time.perf_counter()
            console.print(f"pseudo-labels: {done} of {shards} shards, {speed}, {left / 60:.1f} minutes left")

    bar: Progress | None = None
    task = TaskID(0)
    if console is None or not console.is_terminal:
        yield advance
        return
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    bar = Progress(
        TextColumn("pseudo-labels"), *columns, TextColumn("{task.fields[speed]}"), console=console, transient=True
    )
    with bar:
        task = bar.add_task("", total=shards, completed=before, speed="")
        yield advance
