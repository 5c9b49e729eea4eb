"""Reports: a study, or a finished run, as one HTML page that works offline. Imports no torch."""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.report.page import write_report as write_report
    from distiller.report.run_page import write_run_report as write_run_report

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
