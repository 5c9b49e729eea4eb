"""Device, number format and attention kernel follow from what the hardware reports, here replaced."""

from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from distiller import device
from distiller.errors import ConfigError

CAPABILITIES = {
    "AMX": ({"amx_bf16": True, "avx512_bf16": True}, True),
    "AVX-512 BF16": ({"amx_bf16": False, "avx512_bf16": True}, True),
    "AVX2": ({"amx_bf16": False, "avx512_bf16": False}, False),
    "a processor that reports neither": ({}, False),
}


def on(monkeypatch: pytest.MonkeyPatch, kind: str, *, bf16: bool) -> None:
    """A machine of this `kind`."""
    monkeypatch.setattr(device, "accelerator", lambda: kind)
    if kind == "cuda":
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": bf16}, raising=False)


@pytest.mark.parametrize("processor", CAPABILITIES)
def test_native_bf16_of_processors(processor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities, native = CAPABILITIES[processor]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert device.native_bf16("cpu") is native


@pytest.mark.parametrize(("tiles", "vectors"), [(True, False), (False, True), (False, False)])
def test_native_bf16_of_an_older_torch(tiles: bool, vectors: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors, raising=False)
    assert device.native_bf16("cpu") is (tiles or vectors)


def test_an_unknown_device_is_not_taken_to_compute_bf16() -> None:
    assert device.native_bf16("mps") is False


@pytest.mark.parametrize(
    ("kind", "bf16", "wish", "precision", "attention"),
    [
        ("cpu", True, "auto", "bf16", "eager"),
        ("cpu", False, "auto", "fp32", "sdpa"),
        ("cpu", True, "fp32", "fp32", "sdpa"),
        ("cpu", False, "bf16", "bf16", "eager"),
        ("cuda", True, "auto", "bf16", "sdpa"),
        ("cuda", False, "auto", "fp32", "sdpa"),
        ("cuda", False, "fp16", "fp16", "sdpa"),
    ],
)
def test_what_is_chosen(
    kind: str, bf16: bool, wish: str, precision: str, attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, kind, bf16=bf16)
    chosen = device.compute(wish)
    assert (chosen.device, chosen.precision, chosen.attention) == (kind, precision, attention)
    assert chosen.answering == chosen.facts()["teacher_attention"] == "sdpa"
    arguments = chosen.trainer_arguments()
    assert arguments["use_cpu"] is (kind == "cpu")
    assert arguments["bf16"] is (precision == "bf16")
    assert arguments["fp16"] is (precision == "fp16")
    assert arguments["dataloader_pin_memory"] is (kind == "cuda")


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_a_kernel_that_is_asked_for_is_taken(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "cpu", bf16=True)
    chosen = device.compute("auto", kernel)
    assert (chosen.attention, chosen.answering) == (kernel, kernel)


def test_fp16_without_an_accelerator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "cpu", bf16=False)
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        device.compute("fp16")


@pytest.mark.skipif(device.accelerator() != "cpu", reason="these are the arguments of a machine without accelerator")
@pytest.mark.parametrize("bf16", [True, False])
def test_transformers_accepts_the_arguments_of_this_machine(bf16: bool, tmp_path: Any) -> None:
    arguments = device.compute("bf16" if bf16 else "fp32").trainer_arguments()
    made = TrainingArguments(output_dir=str(tmp_path), **arguments)
    assert made.bf16 is bf16
    assert made.device.type == "cpu"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_autocast_computes_in_the_number_format(precision: device.Precision) -> None:
    product = torch.nn.Linear(4, 4)
    with device.autocast("cpu", precision):
        found = product(torch.ones(2, 4)).dtype
    assert found is {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
