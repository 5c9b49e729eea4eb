"""What translation adds: parallel text, a shared vocabulary, encoder–decoders, decoding and sequence-level targets.

Source of the methods: "NMT Distillation" (NVIDIA NeMo, 2021); Kim and Rush 2016, arXiv:1606.07947.
"""
