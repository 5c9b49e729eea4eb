"""Translation models as CTranslate2: the same translations, and a script that needs only two packages."""

import json
from pathlib import Path

import pytest
import yaml

from cli.conftest import Command
from distiller.deploy.translators import open_translator
from distiller.record import load_record
from translation.test_families import taught
from translation.tiny import tiny_run, translator

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
    from distiller.deploy.export import export
    from distiller.run import distil

    run = taught(name, tmp_path, evaluation={"beam": 2, "max_length": 8})
    distil(run)
    source = open_translator(run.output, rows=20)
    assert source is not None
    for form in ("folder", "ctranslate2-int8"):
        _, made = export(source, form, max_loss=1.0)
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


def test_other_models_are_no_translators(tmp_path: Path) -> None:
    assert open_translator(str(tmp_path)) is None
    (tmp_path / "config.json").write_text(yaml.safe_dump({"model_type": "bert"}), encoding="utf-8")
    assert open_translator(str(tmp_path)) is None
