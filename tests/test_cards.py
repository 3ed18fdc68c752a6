"""Model cards: that Hugging Face's own reader takes them, and that they say what must be said."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from mien.cards import front_matter, model_card, run_card, write_card
from mien.coverage import threshold
from mien.errors import MissingExtraError
from mien.evaluation import judge
from mien.modelspec import ModelSpec
from reporting import bare_facts, full_facts

yaml = pytest.importorskip("yaml")

SPEC = ModelSpec(("a", "b"), "small", 10, trained_on={"format": "FER2013 folder", "n_train": 20, "n_validation": 2})


def score(split: str = "public"):
    return judge(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]), classes=("a", "b"), split=split)


def matter(card: str) -> dict:
    start, text, _ = card.split("---\n", 2) if card.count("---\n") > 1 else ("x", "", "")
    assert start == ""
    return yaml.safe_load(text)


def test_the_front_matter_has_the_hub_s_keys():
    found = yaml.safe_load(front_matter("small", SPEC, {"public": score()}, licence="mit", ece=0.05).strip("-\n"))
    assert found["license"] == "mit"
    assert found["pipeline_tag"] == "image-classification"
    assert found["library_name"] == "mien"
    assert found["datasets"] == ["fer2013"]
    assert found["metrics"] == ["accuracy", "f1"]
    assert {"facial-expression-recognition", "onnx"} <= set(found["tags"])
    result = found["model-index"][0]["results"][0]
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "fer2013", "name": "FER2013", "split": "public"}
    assert {one["type"]: one["value"] for one in result["metrics"]} == {"accuracy": 0.6667, "f1": 0.6667, "ece": 0.05}


def test_hugging_face_reads_it(tmp_path, patterns):
    hub = pytest.importorskip("huggingface_hub")
    facts = bare_facts(tmp_path, patterns, split="test")
    card = hub.ModelCard(model_card(facts, licence="mit"))
    assert card.data.license == "mit"
    assert card.data.model_name == "brightness"
    read = {(one.dataset_split, one.metric_type): one.metric_value for one in card.data.eval_results}
    assert set(read) == {(split, kind) for split in ("test", "public", "private") for kind in ("accuracy", "f1")}
    for split, evaluation in facts.scores.items():
        assert read[split, "accuracy"] == pytest.approx(evaluation.accuracy, abs=5e-5)
        assert read[split, "f1"] == pytest.approx(evaluation.macro_f1, abs=5e-5)


def test_the_card_says_what_the_model_is_not_for(tmp_path, patterns):
    text = " ".join(model_card(bare_facts(tmp_path, patterns)).split())
    assert "inferring the emotions of people at work or in education is prohibited" in text
    assert "Article 5(1)(f)" in text
    for heading in ("## Use", "## Intended uses", "## Forbidden uses", "## Limits", "## Scores", "## Licence"):
        assert heading in text
    assert "does not know what a person feels" in text
    assert "Licence Not stated" in text


def test_the_card_has_the_report_s_numbers(tmp_path, patterns):
    facts = full_facts(tmp_path, patterns)
    card = write_card(tmp_path / "README.md", facts, licence="apache-2.0").read_text(encoding="utf-8")
    assert f"{facts.evaluation.accuracy:.1%}" in card
    assert f"expected calibration error {facts.calibration.after.ece:.1%}" in card
    assert f"{facts.coverage.at_80.accuracy:.1%} are right" in card
    assert f"(confidence from {threshold(facts.coverage.at_80.min_confidence)})" in card
    assert facts.provenance.command in card
    assert facts.provenance.model_sha256 in card
    assert matter(card)["model-index"][0]["results"][0]["metrics"][-1]["value"] == round(facts.ece, 4)
    for name, one in facts.evaluation.per_class.items():
        assert f"| {name} | {one.support} | {one.precision:.1%} |" in card


def test_data_of_one_s_own_has_no_name_on_the_hub():
    found = matter(front_matter("mine", replace(SPEC, trained_on={}), {"val": score("val")}) + "\n")
    assert "datasets" not in found
    assert found["license"] == "unknown"
    assert found["model-index"][0]["results"][0]["dataset"]["type"] == "imagefolder"


def test_without_scores_there_is_no_index():
    assert "model-index" not in matter(front_matter("mine", SPEC, {}) + "\n")


def test_odd_names_break_neither_yaml_nor_tables(tmp_path, patterns):
    odd = "a: b\n---\n| <b> 'x' \"y\""
    facts = replace(bare_facts(tmp_path, patterns), name=odd)
    found = yaml.safe_load(front_matter(odd, SPEC, {"public": score()})[4:-3])
    assert found["model-index"][0]["name"] == odd
    assert "<b>" not in model_card(facts).partition("\n---\n")[2].partition("# ")[2].splitlines()[0]


def test_a_run_s_card_has_front_matter_and_says_what_is_a_test():
    record = {"command": "mien train", "training": {"keep": "best"}, "environment": {"python": "3.11"}}
    card = run_card(record, SPEC, {"validation": score("validation"), "public": score()})
    assert [one["dataset"]["split"] for one in matter(card)["model-index"][0]["results"]] == ["validation", "public"]
    assert "Test splits were read once" in " ".join(card.split())
    assert "Article 5(1)(f)" in card
    watched = replace(SPEC, trained_on={**SPEC.trained_on, "validation": "public"})
    card = run_card(record, watched, {"public": score(), "private": score("private")})
    assert "(it chose the epoch), and recipes are chosen on it: of these splits only PrivateTest is a test." in card
    assert "Not judged: there were no validation images, and no test split was read." in run_card(record, SPEC, {})


def said(splits: tuple[str, ...], *, n: int = 2, validation: str = "holdout", interrupted: bool = False, **training):
    """What a run's card says of its data and scores, in one line."""
    record = {"command": "mien train", "training": {"keep": "best", "early_stopping": 0, **training}}
    spec = replace(SPEC, trained_on={**SPEC.trained_on, "n_validation": n, "validation": validation if n else None})
    card = run_card(record, spec, {name: score(name) for name in splits}, interrupted=interrupted)
    return " ".join(card.partition("## Data")[2].partition("## How it was made")[0].split())


@pytest.mark.parametrize("validation", ["holdout", "public"])
def test_the_card_of_an_interrupted_run_says_that_it_was(validation):
    words = said(("validation",), validation=validation, interrupted=True)
    assert "Training was interrupted before its end, and test splits were left unread." in words
    assert "Test splits were read" not in words
    assert "PrivateTest" not in words
    assert "interrupted" not in said(("validation", "test"))


def test_the_card_does_not_say_that_tests_were_read_where_none_was():
    words = said(("validation",))
    assert 'No test split was read. "validation" chose the epoch and is therefore no test.' in words
    assert "Test splits" not in words
    words = said(("validation",), validation="public")
    assert 'No test split was read. PublicTest, here "validation", was watched while training' in words
    assert words.endswith("recipes are chosen on it: it is no test.")


def test_the_card_says_what_validation_decided():
    both, last = ("validation", "test"), "the last epoch was kept, whatever it scored."
    words = said(both, keep="last")
    assert f"2 were held out to watch it by; {last}" in words
    assert f'"validation" was watched while training; {last}' in words
    words = said(both, keep="last", early_stopping=5)
    assert "2 were held out to choose when to end." in words
    assert '"validation" chose when to end and is therefore no test.' in words
    assert '"validation" chose the epoch and when to end and is' in said(both, early_stopping=5)
    assert "(it chose when to end)" in said(("public",), validation="public", keep="last", early_stopping=5)
    assert f"({last[:-1]})" in said(("public",), validation="public", keep="last")


def test_without_validation_images_the_card_does_not_say_that_they_chose():
    words = said(("test",), n=0)
    assert "None were held out; the last epoch was kept." in words
    assert words.endswith("Test splits were read once, after everything was chosen.")
    assert "chose the epoch" not in words
    assert '"validation"' not in words


def test_without_pyyaml_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"mien\[evaluate\]"):
        front_matter("x", SPEC, {})


def test_scores_on_other_data_do_not_go_by_the_name_of_what_the_model_learnt_from(tmp_path, patterns):
    facts = bare_facts(tmp_path, patterns, split="test")
    learnt = replace(facts.spec, trained_on={"format": "FER2013 folder", "n_train": 28709, "n_validation": 0})
    facts = replace(facts, spec=learnt, format="class folders")
    found = matter(model_card(facts))
    assert found["datasets"] == ["fer2013"]
    datasets = [one["dataset"] for one in found["model-index"][0]["results"]]
    assert {(one["type"], one["name"]) for one in datasets} == {("imagefolder", "class folders")}
    assert "of class folders" in model_card(facts)
    votes = matter(model_card(replace(facts, format="FER2013 CSV with FER+ votes (majority)")))
    assert votes["model-index"][0]["results"][0]["dataset"]["name"] == "FER2013 with FER+ labels"


def test_what_a_list_left_out_is_said(tmp_path, patterns):
    facts = replace(bare_facts(tmp_path, patterns), excluded=12)
    assert "Left out 12 pictures of this split, as a list said" in model_card(facts)
    data = {**SPEC.trained_on, "excluded": 3001}
    record = {"command": "mien train", "training": {"keep": "best"}, "environment": {}}
    assert "3,001 images of the data were left out" in run_card(record, replace(SPEC, trained_on=data), {})
    one = {**data, "excluded": 1, "duplicates_left_out": 1, "n_train": 1, "n_validation": 1}
    card = run_card(record, replace(SPEC, trained_on=one), {})
    assert "1 image was left out, found in a test split as well. 1 image of the data was left out" in card
    assert "trained on 1 image of its training split" in card
    assert " 1 was held out to " in card


def test_other_models_that_it_learned_from_are_said(tmp_path, patterns):
    recipe = {"init": "a|b.onnx", "init_share": 0.5, "teachers": ["c.keras", "d.keras"]}
    facts = bare_facts(tmp_path, patterns)
    taught = replace(SPEC, trained_on={**SPEC.trained_on, "recipe": recipe})
    record = {"command": "mien train", "training": {"keep": "best"}, "environment": {}}
    for card in (run_card(record, taught, {}), model_card(replace(facts, spec=taught))):
        words = " ".join(card.split())
        assert "It began with the weights of a\\|b.onnx, of which 0.5 stays. It learned from the answers of" in words
        assert "of c.keras, d.keras as well. What these had learned from counts too." in words
    alone = replace(SPEC, trained_on={**SPEC.trained_on, "recipe": {"init": "", "init_share": 0.0, "teachers": []}})
    for spec in (alone, replace(SPEC, trained_on={**SPEC.trained_on, "recipe": "seed"})):
        assert "learned from" not in run_card(record, spec, {}).partition("## Scores")[0]


def test_the_card_says_that_other_persons_were_held_out():
    record = {"command": "mien train", "training": {"keep": "best", "early_stopping": 0}}
    spec = replace(SPEC, trained_on={**SPEC.trained_on, "validation": "holdout", "validation_apart": "person"})
    card = run_card(record, spec, {"validation": score("validation")})
    assert "2 of other persons were held out to choose the epoch." in " ".join(card.split())
