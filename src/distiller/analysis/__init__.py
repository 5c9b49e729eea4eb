"""What trials show: which choice mattered, which was best, by how much. Reads tables, never imports torch."""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.analysis.best import configurations as configurations
    from distiller.analysis.best import top_counts as top_counts
    from distiller.analysis.effects import level_effects as level_effects
    from distiller.analysis.fanova import Fanova as Fanova
    from distiller.analysis.fanova import variance_shares as variance_shares
    from distiller.analysis.importance import Importance as Importance
    from distiller.analysis.importance import factor_importance as factor_importance
    from distiller.analysis.pareto import pareto_front as pareto_front
    from distiller.analysis.second_opinion import ped_anova as ped_anova

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
