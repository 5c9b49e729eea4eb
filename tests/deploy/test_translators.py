"""Translation models as CTranslate2: the same translations, and a script that needs only two packages."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Command
from deploy.conftest import translated
from distiller.config import to_yaml
from distiller.deploy import bench
from distiller.deploy.ask import LoadedModels
from distiller.deploy.export import export_student
from distiller.deploy.measure_translation import measure_translation
from distiller.deploy.translators import open_translator
from distiller.errors import ModelError, Notice
from distiller.record import load_record
from distiller.training.output_folder import RUN_FILE, STUDENT
from distiller.translation.corpus import read_corpus
from distiller.translation.students import load_translator, save_translator
from distiller.translation.translate import translated_lines
from translation.families import LANGUAGES, family_folder
from translation.test_families import taught
from translation.tiny import sentences, tiny_run, translator, write_pairs

pytest.importorskip("ctranslate2")
pytest.importorskip("sentencepiece")


def test_a_translation_model_is_exported_with_its_script(distiller: Command, tmp_path: Path) -> None:
    translator(tmp_path / "model")
    answer = distiller("export", tmp_path / "model", "--to", "ctranslate2-int8", "-o", tmp_path / "it", "--json")
    assert answer.code == 0 or "says something else" in answer.err, answer.err
    refused = distiller("export", tmp_path / "model", "--to", "onnx", "-o", tmp_path / "other")
    assert (refused.code, "has no form `onnx`" in refused.err) == (2, True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["m2m100", "bart", "t5"])
def test_students_of_every_family_are_exported_with_their_scripts(name: str, tmp_path: Path) -> None:
    """Languages, a forced end, rows without a token: what the scripts say is what the library says."""
    from distiller.run import distil

    run = taught(name, tmp_path, evaluation={"beam": 2, "max_length": 8})
    distil(run)
    source = open_translator(run.output, rows=20)
    assert source is not None
    for form in ("folder", "ctranslate2-int8"):
        _, made = export_student(source, form, max_loss=1.0)
        assert made.script_agrees == 1
        assert made.parity.equal_predictions > (0.5 if form == "ctranslate2-int8" else 0.999)


@pytest.mark.slow
def test_a_finished_translation_run_keeps_its_bleu(distiller: Command, tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    from distiller.run import distil

    run = tiny_run(tmp_path)
    distil(run)
    answer = distiller("export", tmp_path / "out", "--to", "ctranslate2-int8", "--json", "--max-loss", "0.2")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)[0]
    assert found["parity"]["metric"] == "bleu"
    assert found["script_agrees"] == 1
    assert found["parity"]["equal_predictions"] > 0.5
    folder = Path(found["folder"])
    assert folder == tmp_path / "out" / "exports" / "ctranslate2-int8"
    assert {"model.bin", "tokenizer", "use.py", "export.json"} <= {path.name for path in folder.iterdir()}
    untold = subprocess.run([sys.executable, folder / "use.py"], capture_output=True, text=True)
    assert untold.returncode == 1
    assert "python use.py" in untold.stderr

    plain, short = (
        json.loads(distiller("export", tmp_path / "out", *form, "--json", "--max-loss", "0.5").out)[0]
        for form in (("--to", "folder"), ("--to", "ctranslate2-int8", "--shortlist", "8", "-o", tmp_path / "short"))
    )
    assert plain["parity"]["equal_predictions"] == plain["script_agrees"] == short["script_agrees"] == 1
    assert (short["shortlist"], (tmp_path / "short" / "vmap.txt").is_file()) == (8, True)

    asked = ("--no-teacher", "--threads", "1", "--repeats", "1", "--json", "-q")
    answer = distiller("bench", tmp_path / "out", tmp_path / "short", *asked)
    assert answer.code == 0, answer.err
    measured = json.loads(answer.out)
    assert measured["metric"] == "bleu"
    assert [(one["role"], one["engine"]) for one in measured["models"]] == [
        ("student", "transformers float32"),
        ("student", "ctranslate2 float32"),
        ("student", "ctranslate2 int8"),
        *[("ctranslate2-int8", "ctranslate2 int8")] * 2,
    ]
    scores = load_record(tmp_path / "out").student.scores
    assert measured["models"][1]["score"] == pytest.approx(scores["bleu"])
    assert measured["models"][1]["scores"]["chrf"] == pytest.approx(scores["chrf"])
    torch_peak, converted_peak = (one["peak_megabytes"] for one in measured["models"][:2])
    assert 0 < converted_peak < torch_peak  # a process that translates with CTranslate2 imports no torch

    (tmp_path / "out" / "record.json").unlink()
    unfinished = distiller("export", tmp_path / "out", "--to", "ctranslate2-int8")
    assert (unfinished.code, "holds no finished run" in unfinished.err) == (2, True)


def test_sentences_are_those_that_the_run_takes(tmp_path: Path) -> None:
    """Without over-long and empty lines, and no more than it asks for."""
    bad = [("eins " * 700, "one"), ("", "empty"), ("eins", "one " * 700)]
    dev = write_pairs(tmp_path, "long", [*sentences(20), *bad])
    task = tiny_run(tmp_path).task.model_dump(mode="json") | {"dev": dev, "skip_bad": True}
    out = translated(tmp_path, task=task)
    translator(out / STUDENT)
    source = open_translator(str(out))
    assert source is not None
    with pytest.warns(Notice, match="left out 1 bad row"):
        assert source.sentences is not None
    assert source.sentences.source == [sentence for sentence, _ in sentences(20)]
    assert any("2 of 22 pairs" in note for note in source.notes)
    (out / RUN_FILE).write_text(to_yaml(tiny_run(tmp_path, task=task | {"dev": dev | {"limit": 5}})), encoding="utf-8")
    few = open_translator(str(out))
    assert few is not None
    with pytest.warns(Notice, match="left out 1 bad row"):
        assert 0 < len(few.sentences or ()) <= 5


def test_sentences_are_those_that_a_run_held_out(tmp_path: Path) -> None:
    """Where no file holds them, they are no training pairs."""
    task = tiny_run(tmp_path).task.model_dump(mode="json") | {"dev": None, "held_out": 12}
    out = translated(tmp_path, task=task)
    translator(out / STUDENT)
    source = open_translator(str(out))
    assert source is not None
    assert source.sentences is not None
    splits = read_corpus(tiny_run(tmp_path, task=task).task)
    assert source.sentences.source == splits.dev.source
    assert not set(source.sentences.source) & set(splits.train.source)


def test_models_are_asked_as_the_run_asks_and_as_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher is told its languages; what CTranslate2 cannot convert is measured without it, and said."""
    told = LANGUAGES["t5"]
    t5 = family_folder("t5", tmp_path / "t5")
    teacher = {"model": str(t5), "languages": told.model_dump()}
    out = translated(tmp_path, teacher=teacher, objective={"beta1": 0.0}, sequence={})
    student, words = translator(out / STUDENT)
    student.config.activation_function = "tanh"
    save_translator(student, words, out / STUDENT)
    source = open_translator(str(out), rows=5)
    assert source is not None
    export_student(source, "folder")
    jobs: list[dict[str, Any]] = []

    def here(job: dict[str, Any], folder: Path, name: str, threads: int) -> dict[str, Any]:
        jobs.append(job)
        return measure_translation(job)

    monkeypatch.setattr(bench, "_in_a_process", here)
    found = bench.measure_models([str(out)], rows=5, repeats=1, threads=1)
    assert [(one.role, one.engine) for one in found.models] == [
        ("teacher", "transformers float32"),
        ("teacher", "ctranslate2 float32"),
        ("teacher", "ctranslate2 int8"),
        ("student", "transformers float32"),
    ]
    model, tokenizer = load_translator(t5, told)
    assert source.sentences is not None
    assert jobs[0]["sentences"] == jobs[1]["sentences"] == tokenizer.encode(source.sentences.source)
    assert sum("student in ctranslate2" in note for note in found.notes) == 2
    alone = bench.measure_models([str(out / "exports" / "folder")], rows=5, repeats=1, threads=1)
    assert [(one.role, one.score) for one in alone.models] == [("folder", found.models[3].score)]

    opened = LoadedModels(out)
    said = {one.name: one for one in opened.ask("eins zwei")}
    assert {name: one.engine for name, one in said.items()} == {"teacher": "ctranslate2", "student": "transformers"}
    search = source.decoding.model_copy(update={"engine": "transformers"})
    assert said["teacher"].said == translated_lines(model, tokenizer, ["eins zwei"], search)[0]
    assert said["student"].said == translated_lines(student.eval(), words, ["eins zwei"], search)[0]


def test_a_model_without_a_run_is_compared_on_the_text_that_is_named(distiller: Command, tmp_path: Path) -> None:
    """An 8-bit form is refused on made-up sentences with a hint that leads to real ones."""
    folder = family_folder("mbart", tmp_path / "m")
    pairs = write_pairs(tmp_path, "dev", sentences(12))
    text = [f"task.dev.{side}={file}" for side, file in pairs.items()]
    told = ["teacher.languages.source=de_DE", "teacher.languages.target=en_XX", "evaluation.max_length=8"]
    export = ["export", folder, "--to", "ctranslate2-int8", "-o", tmp_path / "it", "--max-loss", 1, "--json"]
    refused = distiller(*export, *told)
    if refused.code:
        assert "task.dev.source=… and task.dev.target=…" in refused.err
    made = distiller(*export, "--overwrite", *text, *told)
    assert made.code == 0, made.err
    (form,) = json.loads(made.out)
    assert (form["parity"]["made_up"], form["parity"]["rows"]) == (False, 12)
    run = tmp_path / "run.yaml"
    run.write_text(to_yaml(tiny_run(tmp_path)), encoding="utf-8")
    again = distiller(*export, "--overwrite", "--run", run)
    assert again.code == 0, again.err
    run.write_text("task: {train: reviews.csv}\nteacher: {model: m}", encoding="utf-8")
    other = distiller(*export, "--overwrite", "--run", run)
    assert (other.code, "is no translation" in other.err) == (2, True)


def test_other_models_are_no_translators(tmp_path: Path) -> None:
    assert open_translator(str(tmp_path)) is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    assert open_translator(str(tmp_path)) is None
    (tmp_path / "config.json").write_text("no JSON", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_translator(str(tmp_path))
