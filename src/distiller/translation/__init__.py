"""What translation adds: parallel text, a shared vocabulary, encoder–decoders, decoding and sequence-level targets.

Source of the methods: "NMT Distillation" (NVIDIA NeMo, 2021); Kim and Rush 2016, arXiv:1606.07947.
"""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.translation.students import load_translator as load_translator
    from distiller.translation.translate import TextTranslator as TextTranslator
    from distiller.translation.translate import translated_lines as translated_lines

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
