"""What a finished run becomes: forms that run anywhere, measurements of them, a model card and a page."""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.deploy.ask import Answer as Answer
    from distiller.deploy.ask import LoadedModels as LoadedModels
    from distiller.deploy.bench import measure_models as measure_models
    from distiller.deploy.examine import examine_run as examine_run
    from distiller.deploy.export import Export as Export
    from distiller.deploy.export import export_student as export_student
    from distiller.deploy.export import load_export as load_export
    from distiller.deploy.finished import Finished as Finished
    from distiller.deploy.finished import open_finished as open_finished
    from distiller.deploy.forms import FORMS as FORMS
    from distiller.deploy.hub import push_folder as push_folder
    from distiller.deploy.table import Bench as Bench
    from distiller.deploy.table import load_bench as load_bench

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
