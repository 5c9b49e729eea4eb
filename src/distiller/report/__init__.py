"""Reports: a study as one HTML page that needs no network. Reads tables, never imports torch."""

from distiller.report.page import write_report

__all__ = ["write_report"]
