"""What translation adds: parallel text, a shared vocabulary, encoder–decoders, decoding and sequence-level targets.

Source of the methods: "NMT Distillation" (NVIDIA NeMo, 2021); Kim and Rush 2016, arXiv:1606.07947.
"""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.translation.config import TranslationRun as TranslationRun
    from distiller.translation.config import load_translation as load_translation
    from distiller.translation.config import parse_translation as parse_translation
    from distiller.translation.record import TranslationRecord as TranslationRecord
    from distiller.translation.record import load_translation_record as load_translation_record
    from distiller.translation.run import distil_translator as distil_translator
    from distiller.translation.students import load_translator as load_translator
    from distiller.translation.translate import translated_lines as translated_lines

__all__ = [
    "TranslationRecord",
    "TranslationRun",
    "distil_translator",
    "load_translation",
    "load_translation_record",
    "load_translator",
    "parse_translation",
    "translated_lines",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "config": ["TranslationRun", "load_translation", "parse_translation"],
        "record": ["TranslationRecord", "load_translation_record"],
        "run": ["distil_translator"],
        "students": ["load_translator"],
        "translate": ["translated_lines"],
    },
)
