"""Exported forms: equal to the model for every kind of task and architecture, runnable alone, whole or not there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from cli.conftest import Command
from deploy.conftest import KINDS, Models
from distiller.deploy.export import export_student, exports_of, judge, load_export
from distiller.deploy.finished import open_finished
from distiller.deploy.forms import FORMS, batches, engine_runtime, input_names, torch_runtime
from distiller.deploy.graph import write_graph
from distiller.deploy.parity import Parity, compare
from distiller.deploy.runtimes import Arrays, onnx_runtime
from distiller.errors import ConfigError, OutputError, RunError
from models.tiny import FAMILIES, tiny_inputs, tiny_model
from models.zoo import tiny_classifier, tiny_config

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_is_equal_in_onnx_and_in_its_own_script(
    models: Models, kind: str, distiller: Command, tmp_path: Path
) -> None:
    answer = distiller(
        "export", models.model(kind), "--run", models.run(kind), "--to", "onnx", "-o", tmp_path / "it", "--json"
    )
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)[0]
    parity = found["parity"]
    assert parity["largest_difference"] < 1e-4
    assert parity["equal_predictions"] == 1
    assert len(parity["lengths"]) > 2
    assert parity["score"] == pytest.approx(parity["torch_score"], abs=1e-6)
    assert found["script_agrees"] == 1
    assert not found["notes"]
    assert load_export(tmp_path / "it").kind == found["kind"]


def test_windows_overlap_by_no_more_than_a_short_model_reads(
    models: Models, distiller: Command, tmp_path: Path
) -> None:
    """The default overlap is longer than all that this model takes, where every context fits into one window."""
    task = ["task.max_length=36", "task.stride=128"]
    answer = distiller(
        "export", models.model("qa"), *task, "--run", models.run("qa"), "--to", "folder", "-o", tmp_path / "it",
        "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)[0]["script_agrees"] == 1
    long = [" ".join(["what"] * 80), " ".join(["music"] * 80) + " was lovely"]
    done = subprocess.run([sys.executable, tmp_path / "it" / "use.py", *long], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip() in long[1]) == (0, True), done.stderr


def test_the_script_needs_nothing_of_this_library(output: Path, distiller: Command, tmp_path: Path) -> None:
    assert distiller("export", output, "--to", "onnx", "-o", tmp_path / "it").code == 0
    program = f"""
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("distiller", "torch", "transformers"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
sys.argv = ["use.py", "the film was lovely", "a dull plot", {" ".join(["music"] * 60)!r}]
runpy.run_path({str(tmp_path / "it" / "use.py")!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines[:2]] == ["good", "bad"]
    assert len(lines) == 3  # the long one is cut, not refused


@pytest.mark.parametrize("kind", ["classification", "pairs", "tagging", "qa"])
def test_the_script_says_how_it_is_called(models: Models, distiller: Command, tmp_path: Path, kind: str) -> None:
    answer = distiller("export", models.model(kind), "--run", models.run(kind), "--to", "folder", "-o", tmp_path / "it")
    assert answer.code == 0, answer.err
    script = [sys.executable, tmp_path / "it" / "use.py"]
    for given in ([], ["one text"], ["one", "two", "three"]) if kind in ("pairs", "qa") else ([],):
        done = subprocess.run([*script, *given], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "python use.py" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_graphs_take_any_batch_and_length(family: str, tmp_path: Path) -> None:
    model = tiny_model(family, layers=2, attention="sdpa" if family != "mpnet" else "eager")
    names = ["input_ids", "attention_mask"]
    example = {name: tiny_inputs()[name] for name in names}
    write_graph(model, example, tmp_path / "model.onnx")
    run, reference = onnx_runtime(tmp_path, threads=1), torch_runtime(model, names)
    for batch, length in ((1, 3), (2, 30), (5, 11)):
        arrays = {name: tiny_inputs(batch=batch, length=length, seed=length)[name].numpy() for name in names}
        np.testing.assert_allclose(run(arrays), reference(arrays), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx-int8", "openvino-int8"])
def test_eight_bits_keep_the_score_and_are_said_to_differ(
    output: Path, form: str, distiller: Command, tmp_path: Path
) -> None:
    pytest.importorskip(FORMS[form].traits["engine"])
    answer = distiller("export", output, "--to", form, "-o", tmp_path / "it", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)[0]
    assert 0 < found["parity"]["largest_difference"] < 1
    assert found["parity"]["score"] == pytest.approx(found["parity"]["torch_score"], abs=0.02)
    assert found["script_agrees"] == 1
    assert not list((tmp_path / "it").glob("float32*"))


@pytest.mark.slow
def test_static_ranges_come_from_training_texts(output: Path, distiller: Command, tmp_path: Path) -> None:
    wanted = ("export", output, "--to", "onnx-int8", "--calibration", "40", "-o", tmp_path / "it", "--json")
    answer = distiller(*wanted)
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)[0]["calibration"] == 40
    alone = distiller("export", output / "student", *wanted[2:], "--overwrite")
    assert alone.code == 2
    assert "training texts" in alone.err


@pytest.mark.parametrize("form", ["onnx-int8", "openvino-int8"])
def test_ranges_without_training_texts_are_refused_before_a_graph_is_made(
    form: str, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distiller.deploy.forms.write_graph", pytest.fail)
    with pytest.raises(ConfigError, match="training texts, which are not there"):
        export_student(open_finished(str(output / "student")), form, folder=tmp_path / "it", options={"calibration": 3})


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("no such operator\nat line 3", "graph: no such operator\nhint"),
        ("conflicts:\n\n- a length\n- b", "conflicts: - a length\nhint"),
        ("no overload. Tried:\none:\nno number\nalso", "no overload. Tried: one: no number\nhint"),
        ("tried:\none:", "tried: one:\nhint"),
    ],
)
def test_what_the_exporter_does_not_get_through_is_said(
    raised: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def export(*_: object, **__: object) -> None:
        raise RuntimeError(raised)

    monkeypatch.setattr("torch.onnx.export", export)
    with pytest.raises(RunError, match=said):
        write_graph(tiny_model("bert"), tiny_inputs(), tmp_path / "model.onnx")


def test_a_form_that_is_not_the_model_is_refused(models: Models) -> None:
    source = open_finished(models.model("classification"), run=models.run("classification"))
    right = torch_runtime(source.model, ["input_ids", "attention_mask", "token_type_ids"])
    assert judge("onnx", compare(source, right), max_loss=0) == []
    wrong = compare(source, lambda arrays: right(arrays)[:, ::-1])
    assert wrong.equal_predictions == 0
    assert wrong.torch_score is not None
    assert wrong.score == pytest.approx(1 - wrong.torch_score)
    for form in ("onnx", "onnx-int8"):
        with pytest.raises(RunError, match=r"is not the model|loses too much"):
            judge(form, wrong, max_loss=0.02)
    assert judge("onnx-int8", wrong, max_loss=1.0)[0].startswith("the `onnx-int8` form loses something")
    slightly = compare(source, lambda arrays: right(arrays) + 0.01)
    with pytest.raises(RunError, match="is not the model"):
        judge("onnx", slightly, max_loss=1)
    broken = compare(source, lambda arrays: right(arrays) * np.nan)
    with pytest.raises(RunError):
        judge("onnx", broken, max_loss=1)


def test_nothing_half_written_is_an_export(
    output: Path, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "there" / "it"
    monkeypatch.setattr("distiller.deploy.export.compare", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        distiller("export", output, "--to", "folder", "-o", target)
    assert list(target.parent.iterdir()) == []
    monkeypatch.undo()
    assert distiller("export", output, "--to", "folder", "-o", target).code == 0
    again = distiller("export", output, "--to", "folder", "-o", target)
    assert (again.code, "--overwrite" in again.err) == (2, True)
    assert distiller("export", output, "--to", "folder", "-o", target, "--overwrite").code == 0

    weights = target / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(OutputError, match="is not what was exported"):
        load_export(target)
    weights.unlink()
    with pytest.raises(OutputError, match="is missing"):
        load_export(target)
    (target / "export.json").unlink()
    with pytest.raises(OutputError, match="holds no export"):
        load_export(target)
    refused = distiller("export", output, "--to", "folder", "-o", target, "--overwrite")
    assert (refused.code, "not an export" in refused.err) == (2, True)
    assert exports_of(tmp_path) == {}


def test_mistakes_are_one_line(output: Path, distiller: Command, tmp_path: Path, shop: object) -> None:
    unfinished = tmp_path / "unfinished"
    shutil.copytree(output, unfinished)
    (unfinished / "record.json").unlink()
    other = tmp_path / "other"
    shutil.copytree(output, other)
    (other / "student" / "model.safetensors").write_bytes(b"no weights")
    for arguments, said in (
        ((output,), "--to folder, --to folder-fp16, --to onnx"),
        ((output, "--to", "onxx"), "did you mean `onnx`?"),
        ((unfinished, "--to", "onnx"), "holds no finished run"),
        ((other, "--to", "folder", "-o", tmp_path / "x"), "model.safetensors"),
        ((tmp_path / "absent", "--to", "onnx"), "there is no model folder"),
        ((shop.base, "--to", "onnx"), "is not fine-tuned for a task"),
        ((output, "--to", "onnx", "--to", "folder", "-o", tmp_path / "x"), "one folder holds one form"),
        ((output, "--to", "folder", "--calibration", "3"), "--calibration has no meaning for folder"),
        ((output / "student", "--to", "folder"), "say where to write with -o"),
    ):
        answer = distiller("export", *arguments)
        assert answer.code == 2
        assert said in answer.err, answer.err
        assert "Traceback" not in answer.err
    assert not (tmp_path / "x").exists()


def test_a_model_without_texts_is_compared_on_made_up_ones(output: Path, distiller: Command, tmp_path: Path) -> None:
    answer = distiller("export", output / "student", "--to", "onnx", "-o", tmp_path / "it", "--json")
    assert answer.code == 0, answer.err
    parity = Parity.model_validate(json.loads(answer.out)[0]["parity"])
    assert parity.made_up
    assert parity.score is None
    assert len(parity.lengths) > 3
    assert "no run says what the task is" in answer.err


def test_an_xlnet_is_written_as_a_graph_and_as_a_folder(tmp_path: Path) -> None:
    """Its mask is a number to subtract from 1.0, and its outputs are the logits and a memory of tensors."""
    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3} | {f"w{n}": n for n in range(4, 99)}
    made = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = WhitespaceSplit()
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=made, padding_side="left", model_max_length=40, **special).save_pretrained(
        tmp_path / "model"
    )
    tiny_classifier(tiny_config("xlnet")).save_pretrained(tmp_path / "model")
    source = open_finished(str(tmp_path / "model"))
    for form, bound in (("folder", 0), ("onnx", 1e-4)):
        assert export_student(source, form, folder=tmp_path / form)[1].parity.largest_difference <= bound
    command = [sys.executable, str(tmp_path / "folder" / "use.py"), "w5", "w6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", ["bart", "t5", "bert", "gpt2"])
def test_made_up_texts_have_what_a_tokenizer_puts_around_them(family: str, side: str, tmp_path: Path) -> None:
    """A BART reads the state of the token that ends a text, and raises where there is none."""
    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3} | {f"w{n}": n for n in range(4, 99)}
    made = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, padding_side=side, model_max_length=40, **special)
    tokenizer.save_pretrained(tmp_path / "model")
    config = tiny_config(family)
    config.pad_token_id = None if family == "gpt2" else 0  # as in the folder of a GPT-2 that was fine-tuned by hand
    tiny_classifier(config).save_pretrained(tmp_path / "model")
    source = open_finished(str(tmp_path / "model"))
    seen = []

    def run(arrays: Arrays) -> np.ndarray:
        seen.append(arrays)
        return torch_runtime(source.model, input_names(source))(arrays)

    found = compare(source, run)
    assert (found.made_up, found.largest_difference, found.equal_predictions) == (True, 0.0, 1.0)
    for arrays in seen:
        for ids, mask in zip(arrays["input_ids"], arrays["attention_mask"], strict=True):
            real = ids[mask == 1]
            assert (real[0], real[-1]) == (1, 2)
            assert (real[1:-1] > 3).all()
            assert not ids[mask == 0].any()
            if not mask.all():
                assert mask[0 if side == "left" else -1] == 0
    assert export_student(source, "folder", folder=tmp_path / "it")[1].parity.largest_difference == 0


def test_batches_have_every_row_once(models: Models) -> None:
    source = open_finished(models.model("classification"), run=models.run("classification"))
    dev = source.tokens("dev")
    assert dev is not None
    rows = [row for chosen, _ in batches(source, dev[1], range(len(dev[1])), sizes=(1, 4)) for row in chosen]
    assert sorted(rows) == list(range(len(dev[1])))


def test_an_export_of_a_folder_runs_as_the_model(output: Path, distiller: Command, tmp_path: Path) -> None:
    assert distiller("export", output, "--to", "folder", "-o", tmp_path / "it").code == 0
    source = open_finished(str(output))
    arrays = {name: tiny_inputs()[name].numpy() % 20 for name in ("input_ids", "attention_mask", "token_type_ids")}
    run = engine_runtime("transformers", tmp_path / "it", source=source)
    with torch.inference_mode():
        expected = source.model(**{name: torch.from_numpy(array) for name, array in arrays.items()}).logits
    np.testing.assert_array_equal(run(arrays), expected.numpy())
