"""The report: what it says, that it needs nothing but itself, and that everybody can read it."""

import re
import shutil
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mien.coverage import threshold
from mien.errors import MissingExtraError, UsageError
from mien.evaluation import judge
from mien.modelspec import ModelSpec
from mien.provenance import Provenance
from mien.report_facts import ReportFacts, read_history, read_kept_epoch
from mien.report_page import percent, picture_address, points, render_report, write_report
from reporting import HISTORY, bare_facts, full_facts

VOID = {"meta", "img", "br", "link", "input", "hr"}
ASKING = {"src", "srcset", "href", "xlink:href", "poster", "action", "data", "background", "formaction", "ping"}
"""Attributes that make a browser fetch something."""


class Page(HTMLParser):
    """The elements of a page in order, the text of each, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.words.append((self.open[-1] if self.open else "", data.strip()))

    @property
    def text(self) -> str:
        return " ".join(" ".join(words for tag, words in self.words if tag != "style").split())

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def facts(tmp_path_factory, patterns) -> ReportFacts:
    return full_facts(tmp_path_factory.mktemp("facts"), patterns)


@pytest.fixture(scope="module")
def html(facts) -> str:
    return render_report(facts)


def html_of(path: Path) -> str:
    return unescape(path.read_text(encoding="utf-8"))


def made_up(classes: tuple[str, ...] = ("a", "b"), **others: object) -> ReportFacts:
    rows = np.full((6, len(classes)), 0.2 / (len(classes) - 1))
    rows[np.arange(6), np.arange(6) % len(classes)] = 0.8
    score = judge(rows, np.arange(6) // 3 % len(classes), classes=classes, split="public")
    provenance = Provenance("mien evaluate", "model.onnx", "0" * 64, "data", made="2026-11-24 15:00")
    return ReportFacts("model", ModelSpec(classes, "net", 10), {"public": score}, provenance, **others)


def test_a_real_judgement_becomes_a_report(tmp_path, facts):
    path = write_report(tmp_path / "judged" / "report.html", facts)
    page = Page(path.read_text(encoding="utf-8"))
    whole, low = facts.evaluation, facts.evaluation.accuracy_interval[0]
    assert page.text.count(f"{whole.accuracy:.1%}") >= 2
    assert f"{low:.1%} to" in page.text
    assert "n\xa0=\xa084" in html_of(path)
    assert "brightness on all test images" in page.text
    assert "PublicTest" in page.text
    assert "mien evaluate model.onnx FER2013 --split test --out judged" in page.text
    assert facts.provenance.model_sha256 in page.text
    assert "AI Act, Article 5(1)(f)" in page.text
    assert f"{facts.calibration.after.ece:.1%}" in page.text
    assert f"{facts.coverage.at_80.accuracy:.1%}" in page.text
    assert f"--min-confidence {threshold(facts.coverage.at_80.min_confidence)}" in page.text
    surest = next(point for point in facts.coverage.points if point.coverage >= 0.2)
    assert f"{surest.accuracy:.1%} {threshold(surest.min_confidence)}" in page.text
    assert [image["src"][:22] for image in page.all("img")] == ["data:image/png;base64,"] * 7 + [
        "data:image/jpeg;base64"
    ]


def test_every_section_is_there_in_order_and_linked(html):
    page = Page(html)
    ids = [one["id"] for one in page.all("section")]
    assert ids == [
        *("summary", "training", "confusion", "classes", "calibration", "coverage", "comparison", "robustness"),
        *("mistakes", "explanations", "data", "origin"),
    ]
    links = [one["href"] for one in page.all("a") if one["href"].startswith("#")]
    assert links == [f"#{name}" for name in ids[1:]]


def test_what_was_not_measured_is_left_out(tmp_path, patterns):
    page = Page(render_report(bare_facts(tmp_path, patterns, split="public")))
    assert [one["id"] for one in page.all("section")] == ["summary", "confusion", "classes", "origin"]
    assert not page.all("svg", "img")
    assert "ECE" not in page.text


def test_nothing_is_asked_of_a_network(html):
    page = Page(html)
    for tag, attributes in page.elements:
        for name in ASKING & attributes.keys():
            target = attributes[name]
            paper = tag == "a" and target.startswith("https://arxiv.org/")
            assert paper or target.startswith(("#", "data:image/")), (tag, name, target[:80])
    assert not page.all("script", "link", "iframe", "object", "embed", "base", "form")
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*['\"]?([^)]+)", html))
    assert "@import" not in html
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_every_reference_inside_has_one(html):
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inside = re.findall(r"url\(#([^)]+)\)", html)
    inside += [one["href"][1:] for _, one in page.elements if one.get("href", "").startswith("#")]
    inside += [one["aria-labelledby"] for _, one in page.elements if "aria-labelledby" in one]
    assert len(inside) > 50
    assert set(inside) <= set(ids)


def test_names_with_html_stay_names():
    evil = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a & b")
    facts = made_up(evil)
    origin = replace(facts.provenance, command="mien evaluate '</code><b>x</b>'", model="<i>m</i>.onnx")
    audit = {"format": "<u>f</u>", "n": 1, "classes": evil, "counts": {"<s>": {evil[0]: 1}}, "bad": 0}
    mistake = full_mistake(evil)
    page = Page(render_report(replace(facts, name=evil[0], provenance=origin, audit=audit, mistakes=(mistake,))))
    assert not page.all("script", "i", "u", "s")
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    assert len(page.all("img")) == 1
    assert page.text.count(evil[0]) >= 5
    assert "'</code><b>x</b>'" in page.text
    assert evil[1] in page.all("img")[0]["alt"]


def full_mistake(classes):
    from mien.mistakes import Mistake

    return Mistake('<img src="x">.png', np.zeros((4, 4, 1), np.uint8), classes[0], classes[1], 0.9, 0.05)


def test_headings_descend_one_step_at_a_time(html):
    levels = [int(tag[1]) for tag, _ in Page(html).elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_pictures_tables_and_regions_can_be_read_aloud(html):
    page = Page(html)
    assert all(one["alt"] for one in page.all("img"))
    assert len(page.all("svg")) == 12
    assert all(one["role"] == "img" and len(one["aria-label"]) > 20 for one in page.all("svg"))
    assert page.all("th")
    assert {one.get("scope") for one in page.all("th")} == {"col", "row"}
    assert all(one["aria-label"] and one["tabindex"] == "0" for one in page.all("div") if one.get("role") == "region")
    assert page.all("html")[0]["lang"] == "en"


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def mixed(one: str, other: str, share: float) -> str:
    """What CSS's color-mix in sRGB gives: so much of the first."""
    parts = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in parts)


def themes() -> list[dict[str, str]]:
    """The variables of the style sheet in light, dark and print, in this order."""
    css = (files("mien") / "templates" / "report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root\s*{([^}]*)}", css)
    return [dict(re.findall(r"--(\w+):\s*(#[0-9a-f]{6}|[0-9.]+);", block)) for block in blocks]


def test_colours_have_the_contrast_of_wcag_aa():
    light, dark, paper = themes()
    for theme in (light, dark, paper):
        for ink in ("ink", "soft", "accent"):
            assert contrast(theme[ink], theme["paper"]) >= 4.5, (theme, ink)
            assert contrast(theme[ink], theme["card"]) >= 4.5, (theme, ink)
        deepest = mixed(theme["accent"], theme["card"], float(theme["heat"]))
        assert contrast(theme["ink"], deepest) >= 4.5, theme
    assert luminance(dark["paper"]) < 0.05 < 0.8 < luminance(light["paper"])


def test_the_confusion_matrix_is_the_evaluation_s(facts, html):
    table = re.search(r'<table class="confusion">.*?</table>', html, re.S).group()
    rows = [re.findall(r"<td[^>]*>(\d+)%<small>([\d,]+)</small>", row) for row in table.split("<tr>")[2:]]
    assert [[int(number) for _, number in row] for row in rows] == [list(row) for row in facts.evaluation.confusion]
    for row, counts in zip(rows, facts.evaluation.confusion, strict=True):
        assert [share for share, _ in row] == [f"{100 * number / sum(counts):.0f}" for number in counts]


def test_copies_of_training_are_named(tmp_path, patterns):
    facts = bare_facts(tmp_path, patterns, split="public")
    assert "None of these pictures stands in Training" in Page(render_report(facts)).text
    leak = replace(facts.leakage, copies=5, clean_accuracy=0.25, clean_interval=(0.2, 0.3), copies_accuracy=0.9)
    text = Page(render_report(replace(facts, leakage=leak))).text
    assert "Without copies 25.0% without 5 that also stand in Training" in text
    assert "also in Training 5 90.0%" in text
    assert "It was not looked" in Page(render_report(replace(facts, leakage=None))).text
    kept_out = replace(facts, leakage=leak, duplicates_left_out=5)
    assert "Without copies" not in Page(render_report(kept_out)).text


def test_what_flatters_is_said():
    watched = {"recipe": {"validation": "public"}}
    facts = made_up()
    assert not any("watched" in line for line in facts.cautions())
    told = replace(facts, spec=replace(facts.spec, trained_on=watched), unlabelled=1200, skipped=2, without_face=3)
    text = " ".join(told.cautions())
    for words in ("watched while", "1,200 pictures without a label", "2 files", "face was found in 3 pictures,"):
        assert words in text
    alone = " ".join(replace(told, excluded=1, unlabelled=1, skipped=1, without_face=1).cautions())
    for words in ("1 picture of this", "1 picture without a label", "1 file that", "face was found in 1 picture,"):
        assert words in alone


def test_pictures_are_called_training_only_where_they_are():
    facts = made_up()
    known = replace(facts.spec, trained_on={"format": "class folders"})
    for split in ("train", "all"):
        judged = replace(facts, scores={split: replace(facts.evaluation, split=split)})
        arrays = replace(judged, spec=replace(facts.spec, trained_on={"format": "arrays"}))
        for untold in (judged, arrays):
            assert "does not say what it learned from. If it was these" in untold.cautions()[0]
        assert replace(judged, spec=known).cautions() == (
            "These pictures hold those of Training: the scores say how well they were remembered, not more.",
        )
    tests_alone = replace(judged, spec=known, training_judged=False)
    assert tests_alone.cautions() == ("It was not looked whether these pictures also stand in Training.",)


def test_all_splits_of_data_without_training_hold_none(tmp_path, patterns):
    shutil.copytree(patterns / "test", tmp_path / "data" / "test")
    assert not any("remembered" in line for line in bare_facts(tmp_path, tmp_path / "data", split="all").cautions())
    assert any("remembered" in line for line in bare_facts(tmp_path, patterns, split="all").cautions())


def test_pictures_that_were_left_out_of_data_that_the_model_did_not_learn_from_are_told():
    told = replace(made_up(), learnt=False, duplicates_left_out=5).cautions()
    assert "learned from other data" in told[0]
    assert told[1] == "Left out 5 pictures found in Training as well, pixel for pixel."


def test_a_calibration_that_was_fitted_on_the_same_pictures_is_said_to_flatter(facts):
    assert not any("flatters" in line or "these very" in line for line in facts.cautions())
    same = replace(facts, calibration=replace(facts.calibration, fitted_on="test"))
    assert any("these very pictures" in line for line in same.cautions())
    part = replace(facts, calibration=replace(facts.calibration, fitted_on="public"))
    assert any("PublicTest, which is among what is judged here" in line for line in part.cautions())


def test_without_jinja_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"mien\[evaluate\]"):
        render_report(made_up())


def test_a_report_that_cannot_be_made_leaves_the_earlier_one(tmp_path, monkeypatch):
    path = write_report(tmp_path / "report.html", made_up())
    before = path.read_bytes()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError):
        write_report(path, made_up())
    assert path.read_bytes() == before
    monkeypatch.undo()
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        write_report(tmp_path / "taken.html", made_up())


def test_facts_that_do_not_fit_are_refused():
    facts = made_up()
    with pytest.raises(UsageError, match="scores"):
        replace(facts, scores={})
    with pytest.raises(UsageError, match="explanations"):
        replace(facts, explanations=np.zeros((4, 4), np.uint8))


def test_the_report_marks_the_kept_epoch_where_it_is_known():
    facts = replace(made_up(), history=HISTORY)
    assert "the dotted line marks the best one on validation." in render_report(facts)
    page = render_report(replace(facts, kept=3))
    assert "the dotted line marks the one that was kept." in page
    assert "kept epoch (3)" in page
    assert "best epoch" not in page


def test_the_kept_epoch_beside_a_model_is_read(tmp_path):
    model = tmp_path / "model.onnx"
    assert read_kept_epoch(model, HISTORY) is None
    for text, kept in (('{"epoch": 3}', 3), ('{"epoch": 4}', None), ('{"n": 7}', None), ("[3]", None), ("{", None)):
        (tmp_path / "metrics.json").write_text(text)
        assert read_kept_epoch(model, HISTORY) == kept
    (tmp_path / "metrics.json").write_text('{"epoch": 1}')
    assert read_kept_epoch(model, None) is None


def test_the_history_beside_a_model_is_read(tmp_path):
    assert read_history(tmp_path / "model.onnx") is None
    table = tmp_path / "history.csv"
    table.write_text("epoch,accuracy,loss\n1,0.5,1.5\n2,0.75,1.25\n")
    assert read_history(tmp_path / "model.onnx") == {"epoch": [1, 2], "accuracy": [0.5, 0.75], "loss": [1.5, 1.25]}
    table.write_text("accuracy,loss,val_loss\n0.5,1.5,\n0.75,1.25,1\n")  # validation is not looked at each epoch
    np.testing.assert_array_equal((read_history(tmp_path / "model.onnx") or {})["val_loss"], [np.nan, 1])
    for text in ("", "epoch,accuracy\n1,0.5\n", "accuracy,loss\n0.5\n", "accuracy,loss\nx,y\n"):
        table.write_text(text)
        assert read_history(tmp_path / "model.onnx") is None


def test_numbers_as_people_write_them():
    assert [percent(0.6667), percent(1.0, 0), percent(None)] == ["66.7%", "100%", "–"]
    assert [points(0.0123), points(-0.02)] == ["+1.2", "−2.0"]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_held_in_the_page_in_their_colours(channels):
    import base64

    import cv2

    image = np.random.default_rng(0).integers(0, 255, (6, 5, channels), dtype=np.uint8)
    data = base64.b64decode(picture_address(image).removeprefix("data:image/png;base64,"))
    back = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(back[..., ::-1] if channels == 3 else back[..., None], image)


def test_the_templates_are_part_of_the_package():
    names = {path.name for path in (files("mien") / "templates").iterdir()}
    assert {"report.html.j2", "report.css"} <= names
    assert Path(str(files("mien") / "templates")).is_relative_to(Path(str(files("mien"))))


def test_near_copies_of_training_and_what_was_not_learnt_are_named(tmp_path, patterns):
    facts = bare_facts(tmp_path, patterns, split="public")
    near = {"near_copies": 9, "near_clean_accuracy": 0.2, "near_clean_interval": (0.1, 0.25)}
    leak = replace(facts.leakage, copies=5, clean_accuracy=0.25, clean_interval=(0.2, 0.3), copies_accuracy=0.9, **near)
    text = Page(render_report(replace(facts, leakage=leak))).text
    assert "9 do so identically or nearly so" in text
    assert "20.0% without 9 identical or nearly so" in text
    assert "nor nearly so 33 20.0%" in text
    alone = replace(leak, copies=0, copies_accuracy=None)
    assert "nor nearly so 33 20.0%" in Page(render_report(replace(facts, leakage=alone))).text
    spec = replace(facts.spec, trained_on={"duplicates_left_out": 1234})
    assert "trained without the 1,234 images" in " ".join(replace(facts, leakage=leak, spec=spec).cautions())
    spec = replace(facts.spec, trained_on={"excluded": 2958})
    assert "trained without 2,958 images that a list named" in " ".join(replace(facts, spec=spec).cautions())
