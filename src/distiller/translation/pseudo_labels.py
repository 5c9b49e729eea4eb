"""Pseudo-labelling: a teacher translates a corpus shard by shard; which of its translations become training pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from distiller.config import Config
from distiller.config.decoding import Filter
from distiller.errors import ConfigError, OutputError
from distiller.files import check_sums, write_text, writing
from distiller.jobs import SUMMARY, Done, Job
from distiller.translation.pairs import Pairs, text_fingerprint
from distiller.translation.scores import closest
from distiller.translation.translators import Labelled, Translator

RESULT, SHARD = "hypotheses.jsonl", "shards/{:06d}.jsonl"


class Summary(Config):
    """The result of a job."""

    sentences: int
    tokens: int
    """Of the best hypotheses."""
    seconds: float
    """Decoding time, over all starts of the job."""
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

    With `resume` a job that was stopped is continued; for a finished one its summary is returned. `part` (i, n) decodes
    every n-th shard from the i-th, so that n processes can share a job; the process that finds all shards done finishes
    the job, the others return `None`. Samples depend only on `seed` and the shard. Raises `OutputError` if `folder`
    holds something else.
    """
    facts = job_facts(pairs, translator, shard_size=shard_size, seed=seed)
    job = Job(folder, facts, len(pairs), shard_size, SHARD, what="pseudo-label", summary=Summary, part=part)
    if (done := job.claim(resume=resume)) is not None:
        return done
    with translator.begin() as translate:

        def write(rows: range, path: Path) -> int:
            said = translate([pairs.source[row] for row in rows], seed + rows.start // shard_size)
            found = [
                Labelled(row=row, source=pairs.source[row], hypotheses=hypotheses)
                for row, hypotheses in zip(rows, said, strict=True)
            ]
            write_text(path, "".join(line.model_dump_json() + "\n" for line in found))
            return sum(line.hypotheses[0].tokens for line in found)

        job.make_shards(write, console=console, rows="sentences", amount="tokens")

    def summary(done: Done) -> Summary:
        with writing(folder / RESULT) as file:
            for path in job.shards:
                file.write(path.read_text(encoding="utf-8"))
        return Summary(
            sentences=len(pairs),
            tokens=done.amount,
            seconds=done.seconds,
            tokens_per_second=done.speed,
            engine=translator.engine,
        )

    return job.finish(summary, [RESULT])


def job_facts(pairs: Pairs, translator: Translator, *, shard_size: int, seed: int) -> dict[str, Any]:
    """Everything on which the translations depend: two jobs with equal facts have equal results."""
    source = text_fingerprint(Pairs(pairs.name, pairs.source, None, pairs.lines))
    return {"source": source, **translator.facts, "shard_size": shard_size, "seed": seed}


def read_labels(folder: str | Path) -> list[Labelled]:
    """The lines of a finished job. Raises `OutputError` for an unfinished one, `DamagedError` for a damaged file."""
    place = Path(folder)
    if not ((place / SUMMARY).is_file() and (place / RESULT).is_file()):
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
    """Sources and pseudo-labels to train on; empty translations are left out.

    `data_mixing` keeps every hypothesis as a pair; `local_update` keeps the hypothesis closest to a `gold` translation
    of the same sentence by sentence BLEU or chrF, or the best one if there is no gold translation. The hypotheses of
    several teachers for one sentence are compared together. Source: "NMT Distillation" (NVIDIA NeMo, 2021); Kim and
    Rush 2016, arXiv:1606.07947, section 3.3.
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
    """The `labels` of one teacher that pass the filter `wish`, and how many translations each rule left out.

    `seen` are the pairs so far, to which these are added. Raises `ConfigError` if the filter needs the teacher's scores
    and there are none.
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
