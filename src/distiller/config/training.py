"""How weights are trained."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from distiller.config.base import Config
from distiller.registry import Count, NonNegative, Number, Positive, Probability


class Optimisation(Config):
    """How a model is optimised. By default training ends when the development score no longer improves; the same rule
    applies to teacher, baseline and student."""

    epochs: Annotated[Positive, Field(le=100_000)] | None = None
    """Passes over the training data. `null`: training continues until the development score has not improved for
    `patience` evaluations, for at least `min_steps` and at most `max_steps`. The learning rate is constant until then;
    afterwards it falls to 0 over a quarter as many steps."""
    min_steps: Count | None = None
    """Without `epochs`: the fewest optimisation steps. `null`: 3 epochs, at least 200 steps and at most 1,000; without
    `max_steps` up to 10 epochs or 5,000 steps for a small student whose texts are labelled by its teacher alone."""
    max_steps: Count | None = None
    """Stop after this many optimisation steps, whatever the other fields say. `null`: `epochs`; or without them 20
    epochs, at least 800 steps and at most 6,000 or two epochs."""
    batch_size: Annotated[Count, Field(le=2**20)] = 32
    """Examples per optimisation step and device, before accumulation."""
    accumulate: Annotated[Count, Field(le=2**20)] = 1
    """Micro-batches per optimisation step."""
    learning_rate: Positive | None = None
    """`null`: 5e-5 · 768 / hidden width for pretrained weights, half of it from 24 layers on, and three times as much,
    at most 1e-3, for weights that start at random."""
    head_learning_rate: Positive | None = None
    """Learning rate of projections and critics, which start at random. `null`: 1e-3."""
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    """Learning-rate schedule where `epochs` are given."""
    warmup: Probability = 0.1
    """Share of all steps (without `epochs`: of the fewest steps) in which the learning rate rises linearly from 0."""
    weight_decay: NonNegative = 0.01
    """Not applied to biases and layer norms."""
    max_grad_norm: NonNegative = 1.0
    """Clips the gradient norm; 0 does not clip."""
    evaluations: Count | None = None
    """Development scores per epoch. `null`: 1; without `epochs`, 40 on the way to `max_steps`, or fewer where they
    would take more than a fifth of the training's time."""
    patience: Count | None = None
    """Evaluations without a better score after which a training ends. `null`: never; without `epochs`, 6."""
    average_best: Annotated[Count, Field(le=100)] | None = None
    """Average the weights of this many evaluations: those with the best development scores, if their score is at most
    one standard error below the best. 1: only the weights with the best score. `null`: 1; without `epochs`, 3."""
    checkpoint_minutes: NonNegative = 5.0
    """Minutes between two checkpoints, from which an interrupted training resumes (0: one after every step). One more
    is written when the process is asked to stop. Does not change the result."""


class Training(Optimisation):
    """How the student is optimised, and the device settings of the whole run."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 where the processor or accelerator computes it natively, else fp32. Losses are always fp32."""
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    """Implementation of attention. `auto`: the faster one on this device, separately for training and inference."""
    threads: Annotated[Count, Field(le=1024)] | None = None
    """CPU threads of this process. `null`: torch's default."""
    workers: Annotated[int, Field(ge=0, le=128), Number] | None = None
    """Background processes that augment and tokenize text. `null`: one where text is augmented, else none."""
    quantization_aware: bool = False
    """Quantization-aware training: in the last fifth of its steps the student computes in 8 bits, as its export by
    `distiller export --to onnx-int8` will. Of use where that export loses accuracy. The weights stay float32."""
    compile: bool = False
    """Compile teacher, student and objective with `torch.compile`. Batches are padded to multiples of 32 tokens, which
    limits the number of graphs. The first steps are slow while graphs are compiled: of use for long trainings on a
    GPU."""
    cache_teacher: Literal["auto", "always", "never"] = "auto"
    """Compute the teacher's outputs once and keep them on disk. `auto`: when they fit into `cache_gb`."""
    cache_gb: Positive = 8.0
    """Room for one run's teacher outputs, in 10^9 bytes."""
    report_to: list[Literal["tensorboard", "mlflow", "wandb", "trackio"]] = []
    """Trackers that follow every training of the run. TensorBoard files are in the output folder, the others write to
    where their own settings say, e.g. `MLFLOW_TRACKING_URI`."""
    log_every: Count = 20
    """Optimisation steps between two log lines."""

    @model_validator(mode="after")
    def _rounds_at_the_end(self) -> Self:
        if self.quantization_aware and self.compile:
            raise ValueError("`quantization_aware` changes how layers compute on the way, `compile` fixes it: set one")
        if self.quantization_aware and self.patience is not None and self.epochs is not None:
            raise ValueError(
                "`patience` may end a training of given length before `quantization_aware` begins: set one of them"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _former_tensorboard(cls, data: Any) -> Any:
        """Records and run files of earlier versions say `tensorboard: true` or `false`."""
        if not isinstance(data, dict) or not isinstance(data.get("tensorboard"), bool):
            return data
        rest = {name: value for name, value in data.items() if name != "tensorboard"}
        return {"report_to": ["tensorboard"], **rest} if data["tensorboard"] else rest
