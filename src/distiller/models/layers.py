"""Where the parts of a `transformers` encoder are: its list of layers and the projections of a layer's attention."""

from torch import nn
from transformers import PreTrainedModel

from distiller.errors import ModelError

PROJECTIONS = (("query", "key"), ("q_lin", "k_lin"), ("q", "k"), ("q_proj", "k_proj"))
"""Names of a layer's query and key maps: BERT, RoBERTa, ELECTRA; DistilBERT; MPNet; BART-like encoders."""


def layer_list(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The list of the model's layers and its dotted name in `model`, e.g. `bert.encoder.layer`.

    Raises `ModelError` when there is no list of `num_hidden_layers` layers (e.g. layers that share their weights).
    """
    base, count = model.base_model, model.config.num_hidden_layers
    prefix = "" if base is model else f"{model.base_model_prefix}."
    for name, module in base.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return prefix + name, module
    raise ModelError(
        f"a `{model.config.model_type}` model has no list of its {count} layers",
        hint="BERT, RoBERTa, ELECTRA, DistilBERT, MPNet and ModernBERT have one",
    )


def attention_projections(model: PreTrainedModel, layer: int) -> tuple[nn.Module, nn.Module]:
    """The query and key maps of layer `layer` (1-based).

    Raises `ModelError` when the layer has none that are known, or when the model rotates their outputs, so that
    their product is not the attention score.
    """
    kind = model.config.model_type
    if getattr(model.config, "rope_parameters", None):
        raise ModelError(
            f"attention scores of `{kind}` cannot be read: it rotates queries and keys after their projection",
            hint="choose an objective on hidden states",
        )
    block = layer_list(model)[1][layer - 1]
    modules = {name.rpartition(".")[2]: module for name, module in block.named_modules()}
    for query, key in PROJECTIONS:
        if query in modules and key in modules:
            return modules[query], modules[key]
    raise ModelError(
        f"attention scores of `{kind}` cannot be read: its layers have no separate query and key projections",
        hint="choose an objective on hidden states",
    )
