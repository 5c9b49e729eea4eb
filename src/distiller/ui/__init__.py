"""A local web page: finished runs and studies, and one text put to every model of a run."""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.ui.server import application as application
    from distiller.ui.server import serve as serve

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
