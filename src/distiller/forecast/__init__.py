"""What a run will cost, before it starts: parameters, steps, memory, disk and, on request, time.

Trains nothing and loads no large weights: models have no storage or, to be timed, random weights.
"""

from distiller.config import Run
from distiller.forecast.encoders import Forecast, of_encoder
from distiller.forecast.translations import TranslationForecast, of_translation
from distiller.run import check
from distiller.translation.outline import Outline

__all__ = ["Forecast", "TranslationForecast", "forecast"]


def forecast(run: Run, *, timed: bool = False) -> Forecast | TranslationForecast:
    """Resolve `run` against its data and models and size it. Raises `DistillerError` for what would stop it.

    `timed`: also build each model with random weights and time a few of its steps.
    """
    plan = check(run)
    if isinstance(plan, Outline):
        return of_translation(plan, timed=timed)
    return of_encoder(plan, timed=timed)
