"""What is odd about some models: reserved positions, tokens without embeddings, padding, halves, kinds of layers."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from distiller.config import Student
from distiller.errors import ConfigError, ModelError
from distiller.models import layers as layers_module
from distiller.models.cutting import check_scores, check_sizes, layer_lists, on_meta
from distiller.models.heads import HEADS
from distiller.models.layers import check_states, reading, summary_token
from distiller.models.load import NO_LIMIT, check_vocabulary, follow_tokenizer, longest_input
from distiller.models.signals import SignalReader
from distiller.models.students import build_student, check_copy, student_config
from models.tiny import WORDS, tiny_model, tiny_tokenizer
from models.zoo import tiny_classifier, tiny_config


def runs(model, length: int) -> bool:
    ids = torch.full((1, length), 7)
    ids[0, -1] = 2
    try:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2", "opt", "bart", "yoso", "xlm", "mpnet", "camembert", "mpt"])
def test_the_longest_input_is_the_longest_that_runs(kind: str) -> None:
    config = tiny_config(kind)
    if kind == "mpt":
        config.max_seq_len = 64
    model, limit = tiny_classifier(config), longest_input(config)
    assert 60 <= limit <= 64
    assert limit == longest_input(model)
    assert runs(model, limit)
    assert not runs(model, limit + 1)


def test_relative_positions_have_no_limit() -> None:
    assert longest_input(tiny_config("t5")) == longest_input(tiny_config("xlnet")) == NO_LIMIT


def test_a_token_without_an_embedding_is_said() -> None:
    tokenizer = tiny_tokenizer()
    check_vocabulary(tokenizer, tiny_model("bert", vocab_size=len(WORDS)).config, "teacher")
    tokenizer.add_tokens("<new>")
    with pytest.raises(ModelError, match="teacher has 14 tokens, its embeddings 13") as error:
        check_vocabulary(tokenizer, tiny_model("bert", vocab_size=len(WORDS)).config, "teacher")
    assert "resize_token_embeddings(14)" in str(error.value.hint)


def test_padding_follows_the_tokenizer_unless_positions_are_counted_from_it() -> None:
    tokenizer = tiny_tokenizer()
    decoder, roberta = tiny_classifier(tiny_config("gpt2")), tiny_model("roberta")
    decoder.config.pad_token_id = None
    follow_tokenizer(decoder, tokenizer)
    assert decoder.config.pad_token_id == tokenizer.pad_token_id
    kept = roberta.config.pad_token_id = 1
    assert follow_tokenizer(roberta, tokenizer).config.pad_token_id == kept


@pytest.mark.parametrize(("kind", "token"), [("gpt2", "last"), ("bert", "first"), ("bart", "first")])
def test_of_an_architecture_without_a_row_the_token_is_found_by_running_it(kind: str, token: str, monkeypatch) -> None:
    monkeypatch.setattr(layers_module, "LAYOUTS", {})
    assert summary_token(tiny_classifier(tiny_config(kind))) == token


def test_the_probe_leaves_no_trace() -> None:
    model = tiny_classifier(tiny_config("big_bird")).train()
    assert model.config.attention_type == model.base_model.attention_type == "block_sparse"
    state = torch.get_rng_state()
    reading(model)
    assert model.base_model.attention_type == "block_sparse"
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(state, torch.get_rng_state())


def test_states_that_no_module_gives_are_those_that_are_reported() -> None:
    model = tiny_classifier(tiny_config("albert"))
    ids = torch.randint(5, 90, (2, 6))
    found = SignalReader(model, {0, 2, 4})({"input_ids": ids})
    with torch.no_grad():
        expected = model(ids, output_hidden_states=True).hidden_states
    for layer, states in found.hidden_states.items():
        torch.testing.assert_close(states, expected[layer])


def test_states_of_another_width_are_known_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config("opt")
    check_states(config)
    reading(tiny_classifier(config))
    config.word_embed_proj_dim = 16
    with pytest.raises(ModelError, match="is 32 wide and ends in states of 16 numbers"):
        check_states(config)
    monkeypatch.setattr(layers_module, "check_states", lambda _: None)
    with pytest.raises(ModelError, match="not 5 of 32 numbers"):  # as running it would say
        reading(tiny_classifier(config))


def test_both_halves_of_an_encoder_decoder_are_cut_in_proportion() -> None:
    config = tiny_config("bart")
    config.decoder_layers = 2
    teacher = tiny_classifier(config)
    student, _ = build_student(
        Student(layers=2),
        teacher_model=teacher,
        teacher_tokenizer=tiny_tokenizer(),
        kind="classification",
        labels=["no", "yes"],
        seed=0,
    )
    stored, copied = teacher.state_dict(), student.state_dict()
    assert (len(student.model.encoder.layers), len(student.model.decoder.layers)) == (2, 1)
    for ours, theirs in (("encoder.layers.0", "encoder.layers.1"), ("decoder.layers.0", "decoder.layers.1")):
        name = f"model.{ours}.fc1.weight"
        assert torch.equal(copied[name], stored[f"model.{theirs}.fc1.weight"])
    with pytest.raises(ModelError, match="4 in its encoder and 2 in its decoder"):
        student_config(Student(pick=[0, 2]), teacher=config)


def test_what_has_an_entry_for_each_layer_is_cut_along() -> None:
    long = student_config(Student(layers=2), teacher=tiny_config("longformer"))
    assert long.attention_window == [8, 8]  # of 4, 8, 4, 8 those of layers 1 and 3
    neo = student_config(Student(pick=[1, 2]), teacher=tiny_config("gpt_neo"))
    assert neo.attention_layers == ["local", "global"]
    own = student_config(Student(layers=2, config={"attention_window": [4, 4]}), teacher=tiny_config("longformer"))
    assert own.attention_window == [4, 4]


def test_layers_of_several_kinds_keep_their_order_or_are_refused() -> None:
    config = tiny_config("jamba")  # mamba and attention in turn
    wish = Student(pick=[0, 3])
    check_copy(wish, student_config(wish, teacher=config), teacher=config, kind="classification")
    wish = Student(pick=[1, 3])
    with pytest.raises(ModelError, match="its layers are of several kinds"):
        check_copy(wish, student_config(wish, teacher=config), teacher=config, kind="classification")


def test_layers_that_know_their_number_stay_in_their_place() -> None:
    config = tiny_config("gpt2")
    config.scale_attn_by_inverse_layer_idx = True
    student_config(Student(layers=2, pick="first"), teacher=config)
    with pytest.raises(ModelError, match="in another place"):
        student_config(Student(layers=2), teacher=config)


def test_a_dropout_that_is_not_there_is_not_passed_over() -> None:
    gpt2 = student_config(Student(layers=2, dropout=0.3, attention_dropout=0.2), teacher=tiny_config("gpt2"))
    assert (gpt2.resid_pdrop, gpt2.embd_pdrop, gpt2.attn_pdrop) == (0.3, 0.3, 0.2)
    with pytest.raises(ConfigError, match="`llama` model has no such dropout"):
        student_config(Student(layers=2, dropout=0.3), teacher=tiny_config("llama"))


def test_attention_scores_that_cannot_be_read_are_refused_without_weights() -> None:
    for layers in (1, 4):
        shape = tiny_config("bert")
        shape.num_hidden_layers = layers
        check_scores(HEADS["classification"], shape)
    for kind, words in (("llama", "rotates queries"), ("gpt2", "no separate query")):
        with pytest.raises(ModelError, match=words):
            check_scores(HEADS["classification"], tiny_config(kind))


def test_lists_of_layers_are_those_that_follow_their_number() -> None:
    lists = layer_lists(AutoModelForSequenceClassification, tiny_config("xlm"))
    parts = ("attentions", "layer_norm1", "ffns", "layer_norm2")
    assert lists == {f"transformer.{part}": 4 for part in parts}


@pytest.mark.parametrize(
    ("kind", "fields", "hint"),
    [
        ("deberta-v2", {"hidden_size": 16}, {"pooler_hidden_size": 16}),
        ("qwen2", {"num_attention_heads": 3}, {"num_attention_heads": 2}),
        ("llama", {"hidden_size": 24, "num_attention_heads": 3, "head_dim": 8}, {"num_key_value_heads": 1}),
    ],
)
def test_sizes_that_do_not_fit_are_seen_without_weights_and_the_hint_mends_them(
    kind: str, fields: dict, hint: dict
) -> None:
    try:
        on_meta(HEADS["classification"], tiny_config(kind)).eval()(
            input_ids=torch.ones(1, 4, dtype=torch.long, device="meta")
        )
    except RuntimeError as error:  # transformers 5.0: a run sees such sizes when it makes its first student
        if "autocast" in str(error):
            pytest.skip("this version of transformers cannot compute rotary positions without storage")
    with pytest.raises(ModelError) as error:
        check_sizes(HEADS["classification"], student_config(Student(config=fields), teacher=tiny_config(kind)))
    assert error.value.hint == " ".join(f"student.config.{name}={value}" for name, value in hint.items())
    check_sizes(HEADS["classification"], student_config(Student(config=fields | hint), teacher=tiny_config(kind)))
