"""Compiled training: the same losses as eager, whatever is compared."""

from pathlib import Path
from typing import Any

import pytest
import torch

from distiller import config
from training.tiny import Examples, term, trainer

pytestmark = pytest.mark.slow

OBJECTIVES = {
    "projected": config.Objective(gamma1=0.5, intermediate=[term("mse"), term("cos", "last")]),
    "transport": config.Objective(intermediate=[term("l2", "emd"), term("attention_mse")]),
    "information": config.Objective(intermediate=[term("mi_alpha")]),
    "augmented": config.Objective(beta2=1, gamma2=0.5, intermediate=[term("mse")]),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_compiled_is_eager(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are captured and differentiated ahead of time; kernels stay those of eager, so that no compiler is run."""
    compile_with = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compile_with(self, backend="aot_eager", **how))
    compiled_function = torch.compile
    monkeypatch.setattr(torch, "compile", lambda what, **how: compiled_function(what, **{"backend": "aot_eager"} | how))
    torch.compiler.reset()
    lines: list[list[dict[str, Any]]] = []
    for compiled in (False, True):
        data = Examples(32, augmented=name == "augmented")
        made = trainer(tmp_path, OBJECTIVES[name], data=data, max_steps=3, compiled=compiled)
        made.train()
        lines.append([{k: v for k, v in line.items() if "loss" in k} for line in made.state.log_history])
    for eager, found in zip(*lines, strict=True):
        assert found == pytest.approx(eager, rel=1e-4, abs=1e-6)
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0  # something was compiled
