"""The encoder–decoder: its size is the slides', its parts are those of other libraries, its first target counts."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSeq2SeqLM
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

from distiller.config.translation import Shape
from distiller.models.cost import parameter_count
from distiller.translation.model import TokenIds, shift_right, sinusoids, without_seed
from translation.tiny import model

COUNTS = {
    "slim-1x1": 18_261_248,
    "slim-3x3": 21_947_648,
    "wide-1x1": 94_969_088,
    "wide-3x3": 153_754_880,
    "teacher-24x6": 468_665_600,
}


def counted(shape: Shape, vocabulary: int) -> int:
    with torch.device("meta"):
        return parameter_count(without_seed(shape, TokenIds.own(vocabulary)))


@pytest.mark.parametrize("name", COUNTS)
def test_named_shapes_have_the_sizes_of_the_slides(name: str) -> None:
    shape = Shape.model_validate({"architecture": name, "network": "slides"})
    assert counted(shape, 32_000) == COUNTS[name]
    sizes = shape.sizes()
    for embeddings, tables in (("separate", 2), ("shared", 1)):
        marian = shape.model_copy(update={"network": "marian", "embeddings": embeddings})
        less = 8 * sizes["width"] + 32_000 + (2 - tables) * 32_000 * sizes["width"]
        assert counted(marian, 32_000) == COUNTS[name] - less


@settings(deadline=None, max_examples=5)
@given(
    enc=st.integers(1, 3),
    dec=st.integers(1, 3),
    heads=st.sampled_from([1, 2]),
    h=st.sampled_from([8, 12]),
    f=st.integers(1, 20),
    v=st.integers(5, 50),
)
def test_every_shape_has_the_size_of_the_formula(enc: int, dec: int, heads: int, h: int, f: int, v: int) -> None:
    shape = Shape(network="slides", encoder_layers=enc, decoder_layers=dec, width=h, ffn=f, heads=heads)
    encoder = enc * (4 * (h * h + h) + 2 * h * f + f + h + 4 * h)
    decoder = dec * (8 * (h * h + h) + 2 * h * f + f + h + 6 * h)
    assert counted(shape, v) == 2 * v * h + v + 8 * h + encoder + decoder


def test_a_saved_model_loads_in_transformers_with_every_weight(tmp_path: Path) -> None:
    made = model(20, network="slides").eval()
    torch.nn.init.normal_(made.final_logits_bias)
    made.save_pretrained(tmp_path)
    loaded, report = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert all(torch.equal(weight, loaded.state_dict()[name]) for name, weight in made.state_dict().items())
    assert loaded.lm_head.weight is loaded.model.decoder.embed_tokens.weight
    assert loaded.model.encoder.embed_tokens.weight is not loaded.model.decoder.embed_tokens.weight


def test_positions_are_those_of_marian() -> None:
    theirs = MarianSinusoidalPositionalEmbedding(40, 16).create_weight()
    torch.testing.assert_close(sinusoids(torch.arange(40), 16), theirs)


def test_labels_are_shifted_behind_the_start_token() -> None:
    labels = torch.tensor([[7, 8, 3], [9, 3, -100]])
    assert shift_right(labels, start=2, pad=1).tolist() == [[2, 7, 8], [2, 9, 3]]
    assert shift_right(torch.tensor([[9, -100, -100]]), start=2, pad=1).tolist() == [[2, 9, 1]]


def test_norms_come_before_sublayers() -> None:
    """With every sublayer silent, a pre-norm model hands the embeddings through to its last norm unchanged."""
    made = model(20, network="slides", encoder_layers=3).eval()
    layers = [*made.model.encoder.layers]
    with torch.no_grad():
        for layer in layers:
            for silent in (layer.self_attn.out_proj, layer.fc2):
                silent.weight.zero_()
                silent.bias.zero_()
    ids = torch.tensor([[5, 6, 7, 3]])
    states = made.model.encoder(input_ids=ids, output_hidden_states=True).hidden_states
    torch.testing.assert_close(states[1], states[0])
    torch.testing.assert_close(states[2], states[0])
    torch.testing.assert_close(states[0].mean(-1), torch.zeros(1, 4), atol=1e-5, rtol=0)  # normed embeddings
