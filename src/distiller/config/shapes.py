"""Sizes of the encoder–decoders that are built here."""

from typing import Literal

from pydantic import model_validator

from distiller.config.base import Config
from distiller.registry import Count, Probability

LONGEST = 510
"""Tokens of the longest sentence that any model here takes."""

SHAPES: dict[str, dict[str, int]] = {
    "teacher-24x6": {"encoder_layers": 24, "decoder_layers": 6, "width": 1024, "ffn": 4096, "heads": 16},
    "slim-1x1": {"encoder_layers": 1, "decoder_layers": 1, "width": 256, "ffn": 1024, "heads": 4},
    "slim-3x3": {"encoder_layers": 3, "decoder_layers": 3, "width": 256, "ffn": 1024, "heads": 4},
    "wide-1x1": {"encoder_layers": 1, "decoder_layers": 1, "width": 1024, "ffn": 4096, "heads": 16},
    "wide-3x3": {"encoder_layers": 3, "decoder_layers": 3, "width": 1024, "ffn": 4096, "heads": 16},
    "6-1": {"encoder_layers": 6, "decoder_layers": 1, "width": 256, "ffn": 1536, "heads": 8},
    "6-2": {"encoder_layers": 6, "decoder_layers": 2, "width": 256, "ffn": 1536, "heads": 8},
    "12-1": {"encoder_layers": 12, "decoder_layers": 1, "width": 512, "ffn": 2048, "heads": 8},
}
"""Encoder–decoders by name: those of "NMT Distillation" (NVIDIA NeMo, 2021), and deep encoders with a shallow decoder,
which decode fast (Kasai et al. 2021, arXiv:2006.10369)."""

ARCHITECTURE = Literal["teacher-24x6", "slim-1x1", "slim-3x3", "wide-1x1", "wide-3x3", "6-1", "6-2", "12-1"]


class Shape(Config):
    """The size of an encoder–decoder: a name, and any number that differs from it."""

    architecture: ARCHITECTURE = "slim-3x3"
    network: Literal["marian", "slides"] | None = None
    """`marian`: an ordinary Marian model, which `transformers` and CTranslate2 load. `slides`: pre-norm, with norms on
    embeddings, a table for each side and a trained bias, which has the slides' exact sizes; `transformers` loads it
    after `import distiller.translation.model`. `null`: `slides` from 24 encoder or 12 decoder layers on, because such
    deep post-norm models hardly learn; else `marian`."""
    embeddings: Literal["shared", "separate"] = "shared"
    """Of `marian`: one table for both sides, or one each; the decoder's is tied to the softmax. `slides` has two."""
    encoder_layers: Count | None = None
    decoder_layers: Count | None = None
    width: Count | None = None
    ffn: Count | None = None
    heads: Count | None = None
    dropout: Probability = 0.1
    """After every sublayer and embedding; attention weights have none, so that fast kernels run."""

    def form(self) -> Literal["marian", "slides"]:
        """The network that `network` stands for."""
        if self.network is not None:
            return self.network
        sizes = self.sizes()
        return "slides" if sizes["encoder_layers"] >= 24 or sizes["decoder_layers"] >= 12 else "marian"

    def sizes(self) -> dict[str, int]:
        """Every number of the shape, by name."""
        own = self.model_dump(include=set(SHAPES[self.architecture]), exclude_none=True)
        return {**SHAPES[self.architecture], **own}

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "Shape":
        sizes = self.sizes()
        if sizes["width"] % sizes["heads"] or sizes["width"] % 2:
            raise ValueError(f"a width of {sizes['width']} must be even and divisible by its {sizes['heads']} heads")
        return self
