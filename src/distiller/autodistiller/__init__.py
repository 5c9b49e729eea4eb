"""AutoDistiller (arXiv:2109.11105, section 5): which pipeline to try on a task nobody has tried, from past trials."""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.autodistiller.advice import Advice as Advice
    from distiller.autodistiller.advice import AdvisedRun as AdvisedRun
    from distiller.autodistiller.advice import advise as advise
    from distiller.autodistiller.advice import write_advice as write_advice
    from distiller.autodistiller.experience import Experience as Experience
    from distiller.autodistiller.experience import add_experience as add_experience
    from distiller.autodistiller.experience import read_experience as read_experience
    from distiller.autodistiller.experience import shipped as shipped
    from distiller.autodistiller.facts import TaskFacts as TaskFacts
    from distiller.autodistiller.facts import facts_of as facts_of
    from distiller.autodistiller.predictor import PREDICTORS as PREDICTORS
    from distiller.autodistiller.predictor import Predictor as Predictor
    from distiller.autodistiller.predictor import fit_predictor as fit_predictor

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
