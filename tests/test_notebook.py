"""What a notebook shows of a Record and of the trials of a study."""

import pytest

from distiller.errors import OutputError
from distiller.study.trials import Trials, tabulate
from report.test_report import HOSTILE
from report.test_run_page import record


def test_a_record_is_a_table_whatever_its_texts() -> None:
    shown = record(HOSTILE)._repr_html_()
    assert "0.9000" in shown
    assert "student, distilled" in shown
    assert "<img" not in shown
    assert "</script>" not in shown


def test_curves_have_every_loss_and_the_score() -> None:
    pytest.importorskip("matplotlib")
    figure = record().plot()
    assert [axes.get_title() for axes in figure.axes] == ["loss", "loss/mse", "loss/prediction", "development accuracy"]
    assert len(figure.axes[-1].lines) == 5  # two seeds of student and baseline, and the level of the teacher
    assert len(figure.axes[1].lines) == 2  # the baseline has no such term
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[10, 0.2], [20, 0.1], [30, 2 / 30]]
    legend = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert sorted(legend) == ["student, distilled", "student, fine-tuned", "teacher"]


def trials(rows: int = 30) -> Trials:
    listed = [
        {
            "task": ("rte", HOSTILE)[row % 2],
            "score": 0.5 + row / 100,
            "teacher_score": 0.9,
            "mapping": ("skip", "last", "emd")[row % 3],
            "intermediate": "" if row % 5 == 0 else "mse",
        }
        for row in range(rows)
    ]
    return tabulate([*listed, {"task": "rte", "status": "failed", "mapping": "skip"}], ["mapping", "intermediate"])


def test_trials_are_a_table_of_the_best() -> None:
    shown = trials()._repr_html_()
    assert "30 complete, 1 failed" in shown
    assert shown.count("<tr>") == 1 + 2 * 10
    assert "0.7900" in shown
    assert "0.5000" not in shown
    assert "<img" not in shown
    assert "none" in tabulate([], ["mapping"])._repr_html_()


def test_trials_are_drawn_by_level() -> None:
    pytest.importorskip("matplotlib")
    figure = trials().plot()
    assert [axes.get_title() for axes in figure.axes] == ["mapping", "intermediate"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["emd", "last", "skip"]
    points = sum(len(found.get_offsets()) for found in figure.axes[0].collections if hasattr(found, "get_sizes"))
    assert points >= 30
    with pytest.raises(OutputError, match="no finished trial"):
        tabulate([{"task": "t", "status": "failed", "mapping": "skip"}], ["mapping"]).plot()
