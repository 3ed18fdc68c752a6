"""Drawings for the page: their colours and letters are the page's, and they say in words what they show."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from mien.calibration import reliability
from mien.charts import VARIABLES, coverage_chart, curve_charts, reliability_chart, robustness_charts
from mien.corruptions import CORRUPTIONS
from mien.coverage import measure_coverage
from mien.robustness import Robustness
from reporting import HISTORY


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.full(4, 0.5), 300)
    labels = np.array([rng.choice(4, p=row) for row in rows])
    return rows, labels


@pytest.fixture(scope="module")
def charts(answers):
    rough = Robustness(10, 20, 0, "none", 0.7, dict.fromkeys(CORRUPTIONS, (0.6, 0.5, 0.4, 0.3, 0.2)))
    return [
        *curve_charts(HISTORY),
        reliability_chart(reliability(*answers), "Before", "before"),
        reliability_chart(reliability(*answers), "After", "after"),
        coverage_chart(measure_coverage(*answers)),
        *robustness_charts(rough),
    ]


def test_the_kept_epoch_is_marked_where_it_is_known():
    accuracy, loss = curve_charts(HISTORY, 3)
    assert "kept epoch (3)" in texts(accuracy)
    assert "; the kept epoch, 3, has 0.420 on validation" in accuracy.says
    assert not [text for text in (*texts(accuracy), *texts(loss)) if text.startswith("best")]


def texts(chart) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(chart.svg).iter("text")]


def test_colours_are_the_page_s(charts):
    for chart in charts:
        assert not re.findall(r"#[0-9a-fA-F]{6}\b", chart.svg), chart.title
        used = set(re.findall(r"var\((--\w+)\)", chart.svg))
        assert {"--ink", "--accent"} <= used <= set(VARIABLES.values())


def test_letters_are_text_in_the_page_s_typeface(charts):
    for chart in charts:
        assert texts(chart)
        assert "DejaVu" not in chart.svg
        assert "system-ui" in chart.svg
        letters = ElementTree.fromstring(chart.svg).iter("text")
        assert all("fill: var(--ink)" in one.attrib["style"] for one in letters), chart.title


def test_they_scale_and_name_no_other_place(charts):
    for chart in charts:
        root = ElementTree.fromstring(chart.svg)
        assert root.tag == "svg"
        assert "viewBox" in root.attrib
        assert not {"width", "height"} & set(root.attrib)
        assert "http" not in chart.svg


def test_no_two_share_an_id(charts):
    ids = [
        one.attrib["id"] for chart in charts for one in ElementTree.fromstring(chart.svg).iter() if "id" in one.attrib
    ]
    assert len(ids) == len(set(ids)) > 100


def test_they_say_what_they_show(answers, charts):
    says = [chart.says for chart in charts]
    assert "the best epoch, 2, has 0.450 on validation" in says[0]
    assert f"expected calibration error {reliability(*answers).ece:.1%}" in says[2]
    at = measure_coverage(*answers).at_80
    assert f"{at.accuracy:.1%} of the surest 80%" in says[4]
    assert says[5] == "blur: 70.0% clean, then 60.0%, 50.0%, 40.0%, 30.0%, 20.0%"
    assert f"{at.accuracy:.1%}" in texts(charts[4])


def test_the_same_facts_give_the_same_drawing(answers):
    first, second = (coverage_chart(measure_coverage(*answers)).svg for _ in range(2))
    assert first == second


def test_matplotlib_s_settings_stay(answers):
    before = dict(mpl.rcParams)
    coverage_chart(measure_coverage(*answers))
    assert dict(mpl.rcParams) == before


def test_names_are_escaped(answers):
    chart = reliability_chart(reliability(*answers), '<b>"&', "odd")
    assert "<b>" not in chart.svg
    assert ElementTree.fromstring(chart.svg).attrib["aria-label"].startswith('<b>"&')
