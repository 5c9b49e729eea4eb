"""Studies: many runs over a space of pipelines, stored in one place, each point run once."""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.study.config import Study as Study
    from distiller.study.config import load_study as load_study
    from distiller.study.config import parse_study as parse_study
    from distiller.study.engine import run_study as run_study
    from distiller.study.progress import Progress as Progress
    from distiller.study.progress import progress_of as progress_of
    from distiller.study.search_space import SearchSpace as SearchSpace
    from distiller.study.search_space import search_space_of as search_space_of
    from distiller.study.storage import StoredStudy as StoredStudy
    from distiller.study.storage import open_study as open_study
    from distiller.study.trial_io import export_trials as export_trials
    from distiller.study.trial_io import import_csv as import_csv
    from distiller.study.trial_io import load_trials as load_trials
    from distiller.study.trials import Trials as Trials

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
