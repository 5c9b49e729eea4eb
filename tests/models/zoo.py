"""A tiny random model of every architecture of `transformers` that can classify texts."""

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

ARCHITECTURES = tuple(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
LAYERS = 4
VOCABULARY = 99

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "head_dim": 8,
    "embedding_size": 32,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Fields that are set where an architecture has them, perhaps under another name."""

LESS_COMMON = {
    "attn_head_size": 8,
    "d_ff": 48,
    "d_head": 8,
    "d_inner": 48,
    "d_kv": 8,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "encoder_layers": LAYERS,
    "ffn_dim": 48,
    "hidden_dim": 48,
    "kv_lora_rank": 8,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "n_routed_experts": 4,
    "num_decoder_layers": LAYERS,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_local_experts": 4,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "shared_expert_intermediate_size": 16,
    "topk_group": 1,
    "v_head_dim": 8,
    "word_embed_proj_dim": 32,
}

ALTERNATING = ["sliding_attention", "full_attention"] * (LAYERS // 2)

HYBRID = ["mamba", "hybrid"] * (LAYERS // 2)
LATENT = {"num_key_value_heads": 4}  # multi-head latent attention has as many keys as queries

OWN: dict[str, dict[str, Any]] = {
    "axk1": LATENT,
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "gptj": {"rotary_dim": 4},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "lilt": {"hidden_size": 48},
    "minicpm3": LATENT,
    "mistral4": LATENT | {"head_dim": 16},
    "t5": {"decoder_start_token_id": 0},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "axk2": LATENT | {"index_topk": 8, "index_head_dim": 8, "index_n_heads": 2},
    "canine": {"num_hash_buckets": 64},
    "cohere_compass_text": {
        "layer_types": ALTERNATING,
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in ("full_attention", "sliding_attention")
        },
    },
    "ctrl": {"dff": 48},
    "esmc": {"num_key_value_heads": 4},
    "funnel": {"block_sizes": [2, 2], "num_decoder_layers": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], LAYERS // 2]], "window_size": 4},
    "layoutlmv3": {"coordinate_size": 4, "shape_size": 8, "input_size": 32},
    "longformer": {"attention_window": [4, 8, 4, 8]},
    "luke": {"entity_vocab_size": 20, "entity_emb_size": 8},
    "markuplm": {"xpath_unit_hidden_size": 8, "max_depth": 5},
    "mobilebert": {"embedding_size": 32, "intra_bottleneck_size": 16},
    "qwen3_5_text": {"linear_num_value_heads": 4, "linear_num_key_heads": 2},
    "qwen3_next": {"linear_num_value_heads": 4, "linear_num_key_heads": 2},
    "reformer": {
        "attn_layers": ["local", "lsh", "local", "lsh"],
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [8, 24],
        "attention_head_size": 8,
        "feed_forward_size": 48,
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
        "num_buckets": 4,
        "hash_seed": 0,
    },
    "roc_bert": {
        "pronunciation_vocab_size": 20,
        "pronunciation_embed_dim": 8,
        "shape_vocab_size": 20,
        "shape_embed_dim": 8,
    },
    "zamba": {"layers_block_type": HYBRID, "num_key_value_heads": 4},
    "zamba2": {"layers_block_type": HYBRID, "num_key_value_heads": 4, "n_mamba_heads": 4},
}  # fmt: skip


def tiny_config(model_type: str) -> PretrainedConfig:
    """The architecture with four layers 32 wide, where its configuration names such sizes at its top."""
    config_class = CONFIG_MAPPING[model_type]
    known, aliases = config_class().to_dict(), config_class.attribute_map
    fields = {aliases.get(name, name): value for name, value in SIZES.items() if name in known or name in aliases}
    fields |= {name: value for name, value in LESS_COMMON.items() if name in known}
    if not hasattr(config_class(), "pad_token_id"):
        fields["pad_token_id"] = 0
    return config_class(**{"num_labels": 2} | fields | OWN.get(model_type, {}))


def tiny_classifier(config: PretrainedConfig, seed: int = 0) -> PreTrainedModel:
    """A classifier with random weights, all of them: fresh biases and norms are constants, and would hide a mistake."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()
