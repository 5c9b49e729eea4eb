"""What this machine computes fastest: number format and attention kernel, chosen by what the hardware reports."""

import platform
from typing import Literal

import torch

Precision = Literal["fp32", "bf16", "fp16"]
Attention = Literal["eager", "sdpa"]


def accelerator() -> str:
    """The device type that `transformers.Trainer` will use here, e.g. `cuda`, `mps` or `cpu`."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return device.type if device else "cpu"


def native_bf16(device: str) -> bool:
    """Whether matrix products in bf16 run on hardware made for them; emulated bf16 is slower than fp32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    return torch.cpu._is_amx_tile_supported()  # torch < 2.12 has no public question


def choose_precision(wish: str, device: str) -> Precision:
    """The number format for `wish`, where `auto` is bf16 exactly where it is native."""
    if wish == "auto":
        return "bf16" if native_bf16(device) else "fp32"
    return wish  # type: ignore[return-value]


def choose_attention(wish: str, device: str, precision: Precision) -> Attention:
    """The attention kernel for `wish`; `auto` is SDPA, but eager for bf16 on a CPU, where it measured faster."""
    if wish == "auto":
        return "eager" if device == "cpu" and precision == "bf16" else "sdpa"
    return wish  # type: ignore[return-value]


def describe_machine() -> dict[str, str | int]:
    """Processor, cores and accelerator, for the Record."""
    device = accelerator()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if device == "cuda" else device,
    }


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def peak_memory_megabytes() -> float:
    """Highest memory use so far in 10^6 bytes: of the accelerator where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        import resource
    except ImportError:  # not a POSIX system
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if platform.system() == "Darwin" else peak / 1e3
