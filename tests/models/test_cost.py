import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel, T5Config

from distiller.models.architectures import architecture
from distiller.models.cost import (
    activation_bytes,
    flops,
    latency,
    megabytes,
    parameter_count,
    times_smaller,
    training_memory,
)
from models.tiny import tiny_inputs, tiny_model


def test_parameters_and_bytes() -> None:
    model = tiny_model("bert")
    head = 32 * 2 + 2
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert parameter_count(model) == counted
    assert parameter_count(model, head=False) == parameter_count(model.config) == counted - head
    assert megabytes(model) == pytest.approx(4 * counted / 1e6)
    assert megabytes(tiny_model("bert").half()) == pytest.approx(2 * counted / 1e6)


@pytest.mark.parametrize(("length", "batch"), [(128, 1), (64, 8)])
def test_operations_of_bert_base_are_those_of_its_matrix_products(length: int, batch: int) -> None:
    h, ffn, layers = 768, 3072, 12
    per_token = 2 * (4 * h * h + 2 * h * ffn) + 2 * (2 * length * h)
    expected = layers * batch * length * per_token + 2 * batch * h * h  # the pooler sees one token
    assert flops(architecture("bert-base").config(), length=length, batch=batch) == expected


def test_a_table_that_several_parts_share_is_none_of_the_operations() -> None:
    """An encoder alone, as `T5EncoderModel` saves it, cannot be run as what its configuration names."""
    config = T5Config(vocab_size=1000, d_model=16, d_kv=4, num_heads=4, d_ff=32, num_layers=2, is_encoder_decoder=False)
    whole = AutoModel.from_config(config)
    tables = {id(part.weight): part.weight.numel() for part in whole.modules() if isinstance(part, torch.nn.Embedding)}
    assert flops(config, length=8) == 16 * (parameter_count(whole) - sum(tables.values())) > 0


def test_operations_of_a_model_leave_it_as_it_was() -> None:
    model = tiny_model("distilbert", attention="sdpa")
    assert flops(model, length=16) > 0
    assert model.config._attn_implementation == "sdpa"
    assert next(model.parameters()).device.type == "cpu"


@pytest.mark.parametrize("half", [False, True])
def test_activations_are_what_autograd_keeps_on_a_real_device(half: bool) -> None:
    model = tiny_model("bert", layers=2).train()
    inputs = tiny_inputs()
    batch, length = inputs["input_ids"].shape
    expected = activation_bytes(model.config, length=length, batch=batch, half=half)
    own = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with (
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=half),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        model.bert(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert expected == pytest.approx(measured, rel=0.02)


def test_memory_grows_with_what_is_trained() -> None:
    student, teacher = architecture("bert-tiny").config(), architecture("bert-base").config()
    alone = training_memory(student, length=64, batch=16)
    assert alone > 16 * 4_385_920
    assert training_memory(student, length=64, batch=16, teacher=teacher) == alone + 4 * 109_482_240
    assert training_memory(student, length=64, batch=32) > alone
    assert training_memory(student, length=64, batch=512, half=True) < training_memory(student, length=64, batch=512)


def test_latency_says_how_it_was_taken() -> None:
    model, threads = tiny_model("bert").train(), torch.get_num_threads()
    ids = tiny_inputs()["input_ids"]
    found = latency(model, {"input_ids": ids}, repeats=3, warmup=1, threads=1)
    assert found.milliseconds > 0
    assert (found.batch, found.length, found.threads, found.device, found.repeats) == (3, 7, 1, "cpu", 3)
    assert model.training
    assert torch.get_num_threads() == threads


def test_latency_grows_with_the_model() -> None:
    ids = {"input_ids": torch.full((1, 64), 5)}
    small = BertConfig(num_hidden_layers=1, hidden_size=32, num_attention_heads=2, vocab_size=100)
    large = BertConfig(num_hidden_layers=8, hidden_size=256, num_attention_heads=4, vocab_size=100)
    times = [latency(BertModel(config), ids, repeats=5).milliseconds for config in (small, large)]
    assert times[1] > times[0]


def test_a_student_may_be_larger_than_its_teacher() -> None:
    assert times_smaller(100, 40) == "2.5 times smaller"
    assert times_smaller(40, 100) == "2.5 times larger"
