"""Pseudo-labelling: killed at any moment and continued, it gives what an undisturbed job gives."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from distiller.config.translation import Decoding
from distiller.errors import DamagedError, OutputError
from distiller.translation.pairs import Pairs
from distiller.translation.pseudo_labels import (
    RESULT,
    Summary,
    pseudo_label,
    read_labels,
    training_pairs,
)
from distiller.translation.translators import Labelled, Scored, model_translator
from translation.tiny import sentences, translator

GREEDY = Decoding(beam=1, max_length=8, threads=1)
SLOW_JOB = """
import sys, time
from pathlib import Path
from distiller.translation import pseudo_labels
from translation.test_pseudo_labels import job
from distiller.translation.translators import Labelled, Scored, model_translator
from translation.tiny import translator

write = pseudo_labels.write_text

def slowly(path, text):
    time.sleep(0.4)  # between decoding a shard and keeping it
    return write(path, text)

pseudo_labels.write_text = slowly
folder = Path(sys.argv[1])
job(folder / "killed", *translator(folder / "model"), resume=True)
"""


def text(count: int = 33) -> Pairs:
    rows = sentences(count)
    return Pairs("text", [source for source, _ in rows], None, list(range(1, count + 1)))


def job(folder: Path, *model: Any, decoding: Decoding = GREEDY, **options: Any) -> Summary | None:
    return pseudo_label(text(), model_translator(*model, decoding), folder, **{"shard_size": 5, **options})


def test_a_labelling_job_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OutputError, match="holds no finished pseudo-labels"):
        read_labels(tmp_path)


def test_a_killed_job_goes_on_where_it_stopped(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen([sys.executable, "-c", SLOW_JOB, str(tmp_path)], env={**os.environ, "PYTHONPATH": paths})
    shards = tmp_path / "killed" / "shards"
    while process.poll() is None and len(list(shards.glob("*.jsonl"))) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.jsonl")}
    assert 2 <= len(kept) < 7
    with pytest.raises(OutputError, match="holds no finished pseudo-labels"):
        read_labels(tmp_path / "killed")

    model = translator(tmp_path / "model")
    summary = job(tmp_path / "killed", *model, resume=True)
    undisturbed = job(tmp_path / "whole", *model)
    assert summary is not None
    assert undisturbed is not None
    assert (summary.sentences, summary.tokens) == (undisturbed.sentences, undisturbed.tokens) == (33, summary.tokens)
    assert (tmp_path / "killed" / RESULT).read_bytes() == (tmp_path / "whole" / RESULT).read_bytes()
    assert [label.source for label in read_labels(tmp_path / "killed")] == text().source
    assert all((shards / name).stat().st_mtime_ns == moment for name, moment in kept.items())  # not decoded again


def test_parts_together_are_the_whole(tmp_path: Path) -> None:
    model = translator(tmp_path / "model")
    sampled = Decoding(beam=1, max_length=8, threads=1, sampling_top_k=5)
    job(tmp_path / "whole", *model, decoding=sampled)
    first = job(tmp_path / "parts", *model, decoding=sampled, part=(0, 2))
    second = job(tmp_path / "parts", *model, decoding=sampled, part=(1, 2))
    assert first is None
    assert second is not None
    assert (tmp_path / "parts" / RESULT).read_bytes() == (tmp_path / "whole" / RESULT).read_bytes()


def test_damaged_translations_are_named_and_made_again(tmp_path: Path) -> None:
    model = translator(tmp_path / "model")
    job(tmp_path / "whole", *model)
    job(tmp_path / "it", *model, part=(0, 2))
    harm(tmp_path / "it" / "shards" / "000002.jsonl")
    with pytest.warns(UserWarning, match=r"000002\.jsonl` is not what was written there"):
        assert job(tmp_path / "it", *model, resume=True) is not None
    assert (tmp_path / "it" / RESULT).read_bytes() == (tmp_path / "whole" / RESULT).read_bytes()
    harm(tmp_path / "it" / RESULT)
    for ask in (lambda: read_labels(tmp_path / "it"), lambda: job(tmp_path / "it", *model, resume=True)):
        with pytest.raises(DamagedError, match=rf"{RESULT}` is not what was written there"):
            ask()


def harm(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])


def test_a_folder_belongs_to_one_job(tmp_path: Path) -> None:
    model = translator(tmp_path / "model")
    first = job(tmp_path / "job", *model)
    assert job(tmp_path / "job", *model, resume=True) == first
    with pytest.raises(OutputError, match="holds this job already"):
        job(tmp_path / "job", *model)
    with pytest.raises(OutputError, match="differs in `shard_size`"):
        job(tmp_path / "job", *model, resume=True, shard_size=6)
    with pytest.raises(OutputError, match="differs in `model`"):
        job(tmp_path / "job", translator(tmp_path / "other", seed=1)[0], model[1], resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(OutputError, match="not a pseudo-label job"):
        job(tmp_path / "mine", *model)


def label(row: int, *texts: str) -> Labelled:
    return Labelled(row=row, source=f"s{row}", hypotheses=[Scored(text=text, score=0, tokens=1) for text in texts])


def test_what_a_student_learns_from() -> None:
    labels = [label(0, "a b c d", "a b x d e"), label(1, "", "q r"), label(2, " ")]
    gold = {"s0": ["z", "a b x d e"], "s1": ["q r s"]}
    assert training_pairs(labels) == (["s0", "s0", "s1"], ["a b c d", "a b x d e", "q r"])
    assert training_pairs(labels, inter="local_update", gold=gold) == (["s0", "s1"], ["a b x d e", "q r"])
    assert training_pairs(labels, inter="local_update") == (["s0", "s1"], ["a b c d", "q r"])


def test_closeness_is_bleu_or_chrf() -> None:
    """chrF sees that a word is nearly right, BLEU does not."""
    labels = [label(0, "one two three x", "once twos threes fours")]
    gold = {"s0": ["one twos threes fours"]}
    by_words = training_pairs(labels, inter="local_update", gold={"s0": ["one two three four"]}, closest_by="bleu")
    assert by_words == (["s0"], ["one two three x"])
    assert training_pairs(labels, inter="local_update", gold=gold, closest_by="chrf") == (
        ["s0"],
        ["once twos threes fours"],
    )
