"""Teachers and students: loading them, building them, reading what they compute, and what they cost."""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.models.architectures import ARCHITECTURES as ARCHITECTURES
    from distiller.models.cost import flops as flops
    from distiller.models.cost import latency as latency
    from distiller.models.cost import megabytes as megabytes
    from distiller.models.cost import parameter_count as parameter_count
    from distiller.models.folders import load_tokenizer as load_tokenizer
    from distiller.models.load import load_model as load_model
    from distiller.models.signals import SignalReader as SignalReader
    from distiller.models.signals import Signals as Signals
    from distiller.models.students import build_student as build_student

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
