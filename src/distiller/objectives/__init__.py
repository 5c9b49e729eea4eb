"""What makes the student like the teacher: prediction and intermediate objectives, layer mapping, critics."""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.objectives.critics import CRITICS as CRITICS
    from distiller.objectives.intermediate import INTERMEDIATE as INTERMEDIATE
    from distiller.objectives.mapping import MAPPING as MAPPING
    from distiller.objectives.mapping import LayerPair as LayerPair
    from distiller.objectives.mapping import last as last
    from distiller.objectives.mapping import skip as skip
    from distiller.objectives.mutual_information import mi_components as mi_components
    from distiller.objectives.prediction import LABEL as LABEL
    from distiller.objectives.prediction import PREDICTION as PREDICTION
    from distiller.objectives.transport import optimal_flow as optimal_flow
    from distiller.objectives.transport import sinkhorn_flow as sinkhorn_flow

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
