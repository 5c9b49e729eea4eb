"""What this machine computes with: device, number format and attention kernel, decided in one place."""

import gc
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from distiller import memory
from distiller.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]
Attention = Literal["eager", "sdpa"]

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """How a run is computed on this machine."""

    device: str
    """The device type, e.g. `cuda`, `mps` or `cpu`."""
    precision: Precision
    attention: Attention
    """The kernel of a model that is trained."""
    answering: Attention
    """The kernel of a model that only answers."""

    def __str__(self) -> str:
        return f"{self.device} in {self.precision} with {self.attention} attention"

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which a model computes in this number format."""
        return autocast(self.device, self.precision)

    def trainer_arguments(self) -> dict[str, Any]:
        """The corresponding fields of `transformers.TrainingArguments`."""
        fields: dict[str, Any] = {
            "use_cpu": self.device == "cpu",  # without it, bf16 is refused where there is no accelerator
            "bf16": self.precision == "bf16",
            "fp16": self.precision == "fp16",
            "dataloader_pin_memory": self.device not in ("cpu", "mps"),
        }
        if self.device == "cuda":  # a batch is copied while the step before it is computed
            fields["accelerator_config"] = {"non_blocking": True}
        return fields

    def facts(self) -> dict[str, str]:
        """For the Record."""
        return {
            "device": self.device,
            "precision": self.precision,
            "attention": self.attention,
            "teacher_attention": self.answering,
        }


def compute(precision: str = "auto", attention: str = "auto") -> Compute:
    """What `training.precision` and `training.attention` mean here. Raises `ConfigError` for fp16 without a GPU."""
    device = accelerator()
    chosen = choose_precision(precision, device)
    return Compute(
        device,
        chosen,
        attention=choose_attention(attention, device, chosen, training=True),
        answering=choose_attention(attention, device, chosen, training=False),
    )


def autocast(device: str, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which a model computes in `precision` on `device`."""
    dtype = AUTOCAST.get(precision)
    return torch.autocast(device, dtype=dtype, enabled=dtype is not None)


def accelerator() -> str:
    """The device type that `transformers.Trainer` will use here, e.g. `cuda`, `mps` or `cpu`."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return device.type if device else "cpu"


def native_bf16(device: str) -> bool:
    """Whether the hardware multiplies matrices in bf16; emulated bf16 is slower than fp32.

    On processors that means AMX or AVX-512 BF16: a training step of MiniLM-L6 on an AMD Zen 4, batch 32 of 32 tokens,
    takes 0.55 to 0.62 of the time of fp32.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
    # torch < 2.12 has no public query
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def choose_precision(wish: str, device: str) -> Precision:
    """The number format for `wish`; `auto` is bf16 exactly where it is native."""
    if wish == "auto":
        return "bf16" if native_bf16(device) else "fp32"
    if wish == "fp16" and device == "cpu":
        raise ConfigError("fp16 needs a GPU, and there is none here", hint="training.precision=bf16, or auto")
    return wish  # type: ignore[return-value]


def choose_attention(wish: str, device: str, precision: Precision, *, training: bool) -> Attention:
    """The attention kernel for `wish`; `auto` is SDPA, but eager for training in bf16 on a CPU.

    There eager attention measured faster in training, up to about 190 tokens or wherever attention has dropout, but up
    to 3.7 times slower in a model that only answers (MiniLM-L6, 384 tokens).
    """
    if wish == "auto":
        return "eager" if training and device == "cpu" and precision == "bf16" else "sdpa"
    return wish  # type: ignore[return-value]


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Random numbers of the host and of `device` follow from `seed` inside the block; outside nothing changes."""
    cuda = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        yield


def release(device: str) -> None:
    """Free the accelerator memory that an ended training still holds.

    Models and optimizers die in cycles, which Python collects by their number and not by their size, and torch keeps
    their memory from other processes.
    """
    if device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def finish(device: str) -> None:
    """Wait until the accelerator has finished its work; nothing on a CPU."""
    if device != "cpu":
        torch.accelerator.synchronize()


def seconds_of(call: Callable[[], object], device: str = "cpu") -> float:
    """Seconds that `call` takes, including the work of an accelerator."""
    finish(device)
    started = time.perf_counter()
    call()
    finish(device)
    return time.perf_counter() - started


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
    """Highest memory use so far in 10^6 bytes: of the accelerator if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return memory.peak() / 1e6
