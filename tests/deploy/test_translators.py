"""Translation models as CTranslate2: the same translations, and a script that needs only two packages."""

import json
from pathlib import Path

import pytest
import yaml

from cli.conftest import Command
from distiller.deploy.translators import open_translator
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

    (tmp_path / "out" / "record.json").unlink()
    unfinished = distiller("export", tmp_path / "out", "--to", "ctranslate2-int8")
    assert (unfinished.code, "holds no finished run" in unfinished.err) == (2, True)


def test_other_models_are_no_translators(tmp_path: Path) -> None:
    assert open_translator(str(tmp_path)) is None
    (tmp_path / "config.json").write_text(yaml.safe_dump({"model_type": "bert"}), encoding="utf-8")
    assert open_translator(str(tmp_path)) is None
