"""What a notebook shows of a Record."""

import pytest

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
    assert len(figure.axes[-1].lines) == 4  # two seeds, teacher and baseline
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[10, 0.2], [20, 0.1], [30, 2 / 30]]
