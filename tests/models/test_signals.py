import copy
import gc
import inspect
import pickle
import weakref

import pytest
import torch

from distiller.errors import ModelError
from distiller.models.signals import SignalReader, frozen_teacher
from models.tiny import FAMILIES, tiny_inputs, tiny_model

WITH_SCORES = ("bert", "roberta", "electra", "distilbert", "mpnet")


def accepted(model, inputs):
    names = inspect.signature(model.forward).parameters
    return {key: value for key, value in inputs.items() if key in names and key != "labels"}


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_those_of_transformers(family: str) -> None:
    model, inputs = tiny_model(family), tiny_inputs()
    oracle = model(**accepted(model, inputs), output_hidden_states=True)
    signals = SignalReader(model, set(range(5)))(inputs)
    assert sorted(signals.hidden_states) == [0, 1, 2, 3, 4]
    for layer, states in signals.hidden_states.items():
        assert torch.equal(states, oracle.hidden_states[layer]), f"layer {layer}"
    assert torch.equal(signals.logits, oracle.logits)
    assert torch.equal(signals.mask, inputs["attention_mask"])


@pytest.mark.parametrize("family", WITH_SCORES)
def test_attention_scores_are_logs_of_the_probabilities_up_to_a_constant_per_row(family: str) -> None:
    model, inputs = tiny_model(family), tiny_inputs()
    bias = 0.0
    if family == "mpnet":  # adds a learnt bias to query·key, the same for all layers
        bias = model.base_model.encoder.compute_position_bias(torch.zeros(3, 7, 32)).detach()
    probabilities = model(**accepted(model, inputs), output_attentions=True).attentions
    scores = SignalReader(model, attention_layers={1, 4})(inputs).attention_scores
    assert sorted(scores) == [1, 4]
    real = inputs["attention_mask"].bool()
    for layer, found in scores.items():
        assert found.shape == (3, 4, 7, 7)
        for example in range(3):
            difference = (found + bias - probabilities[layer - 1].log())[example][..., real[example]]
            torch.testing.assert_close(difference, difference[..., :1].expand_as(difference), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_scores_do_not_depend_on_the_attention_kernel(family: str) -> None:
    eager, fast = tiny_model(family), tiny_model(family, attention="sdpa")
    assert fast.config._attn_implementation == "sdpa"
    one, two = (SignalReader(model, attention_layers=[2])(tiny_inputs()) for model in (eager, fast))
    torch.testing.assert_close(one.attention_scores[2], two.attention_scores[2], atol=1e-5, rtol=1e-5)


def test_gradients_flow_through_every_student_signal() -> None:
    model = tiny_model("bert").train()
    signals = SignalReader(model, {0, 2}, {3})(tiny_inputs())
    (signals.hidden_states[2].square().sum() + signals.attention_scores[3].square().sum()).backward()
    layers = model.bert.encoder.layer
    assert layers[0].output.dense.weight.grad.abs().sum() > 0
    assert layers[2].attention.self.query.weight.grad.abs().sum() > 0
    assert layers[2].output.dense.weight.grad is None
    assert layers[3].output.dense.weight.grad is None


class Wrapping(torch.nn.Module):
    """A head of one's own that hands on whatever it is given."""

    def __init__(self, model: torch.nn.Module, form: str) -> None:
        super().__init__()
        self.model, self.form, self.config = model, form, model.config

    def forward(self, input_ids, labels=None, **given):
        logits = self.model(input_ids, **given).logits
        return {"dictionary": {"logits": logits}, "tuple": (logits,), "tensor": logits}[self.form]


@pytest.mark.parametrize("form", ["dictionary", "tuple"])
def test_a_head_of_ones_own_is_given_what_tokenizers_make(form: str) -> None:
    model = tiny_model("bert").eval()
    inputs = tiny_inputs()
    inputs["token_type_ids"] = inputs["attention_mask"].cumsum(-1) % 2
    assert not inputs["attention_mask"].all()
    read = {name: inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    expected = model(**read).logits
    found = SignalReader(Wrapping(model, form))(inputs).logits  # with columns that no model reads
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_outputs_without_a_name_are_refused() -> None:
    with pytest.raises(ModelError, match="`Wrapping` gives no `logits`"):
        SignalReader(Wrapping(tiny_model("bert"), "tensor"))(tiny_inputs())


def test_a_teacher_gets_no_gradient_and_no_dropout() -> None:
    teacher = frozen_teacher(tiny_model("bert").train())
    reader = SignalReader(teacher, {2})
    one, two = reader(tiny_inputs()), reader(tiny_inputs())
    assert torch.equal(one.logits, two.logits)
    assert not one.hidden_states[2].requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_nothing_but_the_wanted_layers_stays_alive() -> None:
    model = frozen_teacher(tiny_model("bert"))
    made: dict[int, weakref.ref] = {}
    for index, block in enumerate(model.bert.encoder.layer):
        block.register_forward_hook(lambda m, i, o, index=index: made.__setitem__(index + 1, weakref.ref(o)))
    reader = SignalReader(model, {2})
    signals = reader(tiny_inputs())
    gc.collect()
    assert [layer for layer, output in made.items() if output() is not None] == [2]
    del signals
    gc.collect()
    assert made[2]() is None


def test_only_the_wanted_layers_have_hooks_until_closed() -> None:
    model = tiny_model("bert")
    reader = SignalReader(model, {1}, {2})
    assert sum(len(module._forward_hooks) for module in model.modules()) == 3
    reader.close()
    assert sum(len(module._forward_hooks) for module in model.modules()) == 0


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copied_model_does_not_write_into_the_readers_of_the_original(twin_of) -> None:
    model = tiny_model("bert")
    reader = SignalReader(model, {1})
    twin = twin_of(reader)
    with torch.no_grad():
        twin.model.bert.embeddings.LayerNorm.weight.mul_(2)
    one, two = reader(tiny_inputs()), twin(tiny_inputs())
    assert twin.model is not model
    assert not torch.equal(one.hidden_states[1], two.hidden_states[1])


def test_the_models_own_forward_keeps_nothing() -> None:
    model = tiny_model("bert")
    reader = SignalReader(model, {1}, {1})
    model(tiny_inputs()["input_ids"])
    assert not reader._kept


def test_embeddings_instead_of_ids() -> None:
    model, inputs = tiny_model("bert"), tiny_inputs()
    embedded = model.get_input_embeddings()(inputs["input_ids"])
    reader = SignalReader(model, {0, 4})
    one = reader(inputs)
    two = reader({"inputs_embeds": embedded, "attention_mask": inputs["attention_mask"]})
    torch.testing.assert_close(one.hidden_states[0], two.hidden_states[0])
    assert reader({"inputs_embeds": embedded}).mask.shape == (3, 7)


def test_inside_a_compiled_module() -> None:
    class Wrapper(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student = tiny_model("bert", layers=2)
            self.reader = SignalReader(self.student, {0, 1, 2}, {1})

        def forward(self, inputs):
            signals = self.reader(inputs)
            return signals.hidden_states[1], signals.attention_scores[1]

    module, inputs = Wrapper(), tiny_inputs()
    compiled = torch.compile(module, backend="eager")
    for expected, found in zip(module(inputs), compiled(inputs), strict=True):
        torch.testing.assert_close(expected, found)


@pytest.mark.parametrize(
    ("hidden", "attention", "words"),
    [({5}, (), "no layer 5 in a model of 4"), ({-1}, (), "no layer -1"), ((), {0}, "no layer 0")],
)
def test_layers_that_are_not_there(hidden, attention, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        SignalReader(tiny_model("bert"), hidden, attention)


def test_rotated_queries_are_refused_in_words_and_leave_no_hooks() -> None:
    model = tiny_model("modernbert")
    with pytest.raises(ModelError, match="rotates queries"):
        SignalReader(model, {1}, {1})
    assert sum(len(module._forward_hooks) for module in model.modules()) == 0
