"""What an audit finds, what a cleaned list leaves out, and the page."""

import html.parser
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from mien.cli.data import check, data_app
from mien.datasets import open_dataset
from mien.datasets.audit import audit
from mien.datasets.audit_report import sheets, write_report
from mien.datasets.cleaning import clean
from mien.datasets.exclusion import exclude, read_list
from mien.datasets.label_issues import FOLDS, out_of_fold
from mien.datasets.measures import emptiness, measure
from mien.errors import DataError, MissingExtraError, UsageError
from test_datasets_near_duplicates import face


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


@pytest.fixture
def root(tmp_path):
    """Faces with each defect; a name says what it is."""
    data = tmp_path / "data"
    for number in range(4):
        for label, name in enumerate(("happy", "sad")):
            save(data / "train" / name / f"Training_{number}.png", face(10 * label + number))
            save(data / "test" / name / f"PublicTest_{number}.png", face(100 + 10 * label + number))
    save(data / "train" / "happy" / "Training_leak.png", face(100))  # identical to test/happy/PublicTest_0
    save(data / "train" / "sad" / "Training_nearleak.png", 255 - (255 - face(111)) // 2)  # like test/sad/PublicTest_1
    save(data / "train" / "happy" / "Training_twin.png", face(0))
    save(data / "train" / "sad" / "Training_torn.png", face(1))  # is happy too: no majority
    save(data / "train" / "happy" / "Training_voted1.png", face(50))
    save(data / "train" / "happy" / "Training_voted2.png", face(50))
    save(data / "train" / "sad" / "Training_outvoted.png", face(50))
    save(data / "train" / "sad" / "Training_blank.png", np.full((48, 48), 9, np.uint8))
    save(data / "test" / "sad" / "PublicTest_blank.png", np.full((48, 48), 90, np.uint8))
    (data / "train" / "sad" / "Training_bad.png").write_bytes(b"rubbish")
    save(data / "train" / "stray (2).png", face(77))
    return data


def test_findings(root):
    found = audit(open_dataset(root))
    report = found.to_dict()
    assert json.loads(json.dumps(report)) == report
    assert report["bad"] == 2
    assert set(report["blank"]["names"]) == {"train/sad/Training_blank.png", "test/sad/PublicTest_blank.png"}
    assert report["duplicates"] == {
        "groups": 4,
        "surplus": 5,
        "across_splits": {"public in train": 1},
        "conflicting_labels": 2,
    }
    near = report["near_duplicates"]
    assert (near["pairs"], near["groups"], near["surplus"]) == (1, 5, 6)
    assert near["across_splits"] == {"public in train": 2}
    assert near["pair_names"][0][:2] == ["test/sad/PublicTest_1.png", "train/sad/Training_nearleak.png"]
    assert ["train/happy/Training_0.png", "train/happy/Training_twin.png"] in report["identical_faces"]
    assert report["no_face"] is None
    assert report["label_issues"] is None


def test_faces_that_cannot_be_used_are_not_counted(root):
    (root / "test" / "happy" / "PublicTest_bad.png").write_bytes(b"rubbish")
    shutil.copytree(root / "test" / "sad", root / "val" / "sad")
    for path in (root / "val" / "sad").iterdir():
        path.write_bytes(b"rubbish")
    report = audit(open_dataset(root), near=False).to_dict()
    counts = {split: (numbers["happy"], numbers["sad"]) for split, numbers in report["counts"].items()}
    assert counts == {"train": (8, 8), "public": (4, 5)}
    assert report["n"] == sum(report["sizes"].values()) == 25
    assert report["bad"] == 3 + 5


def test_a_cleaned_list(root, tmp_path):
    found = audit(open_dataset(root))
    cleaning = clean(found)
    assert {name.rpartition("_")[2]: why for name, why in cleaning.reasons.items()} == {
        "bad.png": "cannot be used",
        "train/stray (2).png": "cannot be used",
        "blank.png": "blank: 100% of its pixels are alike",
        "leak.png": "identical to test/happy/PublicTest_0.png",
        "nearleak.png": "nearly identical to test/sad/PublicTest_1.png",
        "twin.png": "identical to train/happy/Training_0.png",
        "1.png": "copies of one picture are called happy, sad, none of them by most",
        "torn.png": "copies of one picture are called happy, sad, none of them by most",
        "voted2.png": "identical to train/happy/Training_voted1.png",
        "outvoted.png": "identical to train/happy/Training_voted1.png, which most copies call happy",
    }
    assert not any(name.startswith("test") for name in cleaning.reasons)
    assert not cleaning.suggestions
    again = audit(exclude(open_dataset(root), list(cleaning.reasons)))
    assert again.bad == ()
    assert again.alike().surplus == 0
    assert clean(again).reasons == {}


def test_check_writes_page_document_and_list(root, tmp_path):
    arguments = ["check", root, "--json", "--out", tmp_path / "out", "--fix", tmp_path / "clean.txt"]
    result = CliRunner().invoke(data_app, list(map(str, arguments)))
    assert result.exit_code == 1  # there are bad files
    report = json.loads(result.stdout)
    assert json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8")) == report
    names = read_list(tmp_path / "clean.txt")
    rest = exclude(open_dataset(root), tmp_path / "clean.txt")
    assert len(names) == 10
    assert len(rest) == report["n"] - 8  # the stray one and the bad one were none of the n
    assert rest.problems == ()
    printed = CliRunner().invoke(data_app, ["check", str(root), "--fix", str(tmp_path / "clean.txt")]).stdout
    assert "identical or nearly so: 6 surplus copies in 5 groups, 2 of public also in train" in printed
    assert printed.rstrip().endswith("clean.txt")


class Page(html.parser.HTMLParser):
    """Collects what a page shows and where it would reach for more."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.addresses, self.ids = "", [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.addresses += [given[name] for name in ("src", "href") if name in given]
        self.ids += [given["id"]] if "id" in given else []

    def handle_data(self, data):
        self.text += data


def test_the_page_needs_nothing_else(root, tmp_path):
    (root / "train" / "happy" / "Training_0.png").rename(root / "train" / "happy" / "Training_<b>&.png")
    found = audit(open_dataset(root))
    page = Page()
    page.feed(write_report(found, tmp_path / "audit.html").read_text(encoding="utf-8"))
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address[0] == "#"} <= set(page.ids)
    assert "Training_<b>&.png" in page.text
    keys = [sheet.key for sheet in sheets(found)]
    assert keys == ["blank", "shared", "torn", "large", "least", "dark", "bright"]
    assert set(keys) <= set(page.ids)


def test_a_page_of_a_dataset_without_defects(tmp_path):
    for number in range(3):
        save(tmp_path / "data" / "train" / "happy" / f"{number}.png", face(number))
    found = audit(open_dataset(tmp_path / "data"))
    assert [sheet.key for sheet in sheets(found)] == ["dark", "bright"]
    assert "Nothing" not in write_report(found, tmp_path / "audit.html").read_text(encoding="utf-8")


def test_faces_are_looked_for(root, tmp_path):
    from skimage import data

    shutil.rmtree(root)
    save(root / "train" / "happy" / "person.png", data.astronaut()[:, :, ::-1])
    save(root / "train" / "happy" / "nobody.png", np.full((200, 200, 3), 127, np.uint8))
    found = audit(open_dataset(root), faces=True, near=False)
    assert found.to_dict()["no_face"] == {"n": 1, "share": 0.5, "names": ["train/happy/nobody.png"]}
    assert found.to_dict()["near_duplicates"] is None
    assert clean(found).reasons == {"train/happy/nobody.png": clean(found).reasons["train/happy/nobody.png"]}  # blank
    result = CliRunner().invoke(data_app, ["check", str(root), "--faces", "--no-near"])
    assert "no face found: 1 (50.0%)" in result.stdout
    assert "nearly identical faces: not looked for (--near does)\n" in result.stdout


def test_the_extra_for_near_duplicates_is_named_where_it_is_missing(root, monkeypatch):
    monkeypatch.setattr("mien.cli.checking.find_spec", lambda name: None)
    result = CliRunner().invoke(data_app, ["check", str(root), "--no-near"])
    assert "not looked for (--near does; it needs pip install 'mien[audit]')" in result.stdout


def test_a_wrong_label_is_found(patterns, tmp_path, monkeypatch):
    monkeypatch.setattr("mien.datasets.label_issues.SURE", 0.6)  # so few pictures make nobody sure
    shutil.copytree(patterns, tmp_path / "data")
    moved = sorted((tmp_path / "data" / "train" / "happy").iterdir())[3]
    moved.rename(tmp_path / "data" / "train" / "fear" / moved.name)
    found = audit(open_dataset(tmp_path / "data"), labels=True)
    issues = found.to_dict()["label_issues"]
    assert issues["judged"] == 294
    assert issues["accuracy"] > 0.9
    assert [(entry["name"], entry["label"], entry["suggested"]) for entry in issues["faces"]] == [
        (f"train/fear/{moved.name}", "fear", "happy")
    ]
    cleaning = clean(found)
    assert f"train/fear/{moved.name}" not in cleaning.reasons
    assert cleaning.suggestions == {f"train/fear/{moved.name}": "looks happy"}
    assert "1 suggestion stands" in cleaning.heading(found)
    assert "labels" in [sheet.key for sheet in sheets(found)]


def test_no_prediction_by_a_model_that_learned_the_image_or_its_copy():
    """Each image is its own class's only clue: whoever has learned it, or its copy, gets it right; others cannot."""
    random = np.random.default_rng(0)
    originals = random.normal(0, 1, (200, 40)).astype(np.float32)
    features = np.concatenate([originals, originals])
    labels = np.tile(random.integers(0, 2, 200), 2)
    groups = np.tile(np.arange(200), 2)
    apart = out_of_fold(features, labels, groups)
    together = out_of_fold(features, labels, np.arange(400))
    assert (apart.argmax(axis=1) == labels).mean() < 0.62
    assert (together.argmax(axis=1) == labels).mean() > 0.8
    np.testing.assert_allclose(apart.sum(axis=1), 1, atol=1e-5)


def test_too_few_faces_to_judge_labels(root):
    for name in ("happy", "sad"):
        for path in list((root / "train" / name).glob("*.png")) + list((root / "test" / name).glob("*.png"))[2:]:
            if not path.stem.endswith(("_0", "_1")):
                path.unlink()
    with pytest.raises(DataError, match=f"two classes with at least {FOLDS} different images"):
        audit(open_dataset(root), labels=True)


def test_measures(root):
    dataset = open_dataset(root)
    seen = measure(dataset, cache=False)
    row = dataset.names.tolist().index("train/happy/Training_0.png")
    pixels = face(0).astype(np.float64)
    assert seen.brightness[row] == pytest.approx(pixels.mean(), abs=0.01)
    assert seen.contrast[row] == pytest.approx(pixels.std(), abs=0.01)
    bad = dataset.names.tolist().index("train/sad/Training_bad.png")
    assert np.isnan(seen.brightness[bad])
    measure(dataset)
    kept = measure(dataset)  # from the cache
    for name in ("brightness", "contrast", "emptiness", "thumbs"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(seen, name))


def test_emptiness():
    assert emptiness(np.full((8, 8), 255, np.uint8)) == 1
    around = np.tile(np.array([7, 8], np.uint8), 32)  # on both sides of a band's end
    assert emptiness(around) == 1
    assert emptiness(np.arange(256, dtype=np.uint8)) == 8 / 256
    half = np.zeros((8, 8), np.uint8)
    half[:4] = 200
    assert emptiness(half) == 0.5


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("jinja2", ["--out", "out"], r"audit\.html .*mien\[audit\]"),
        ("cleanlab.filter", ["--labels"], r"judging labels .*mien\[audit\]"),
        ("scipy.sparse.csgraph", ["--near"], r"near-duplicates .*mien\[audit\]"),
    ],
)
def test_extras_are_named_before_any_work(root, tmp_path, monkeypatch, module, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(data_app, ["check", str(root), *arguments])
    assert isinstance(result.exception, MissingExtraError)
    assert __import__("re").search(message, str(result.exception))


def test_without_scipy_the_rest_is_checked(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse.csgraph", None)
    found = audit(open_dataset(root))
    assert found.near is None
    assert "train/sad/Training_nearleak.png" not in clean(found).reasons
    assert "train/happy/Training_leak.png" in clean(found).reasons


def test_out_must_be_a_folder(root, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = CliRunner().invoke(data_app, ["check", str(root), "--out", str(tmp_path / "file")])
    assert isinstance(result.exception, UsageError)
    result = CliRunner().invoke(data_app, ["check", str(root), "--fix", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_list_never_replaces_what_is_none(root, tmp_path):
    table = tmp_path / "fer2013.csv"
    table.write_text("emotion,pixels,Usage\n")
    with pytest.raises(UsageError, match=r"--fix: .*fer2013\.csv exists and is no list .*name another file"):
        check(root, fix=table)
    assert table.read_text() == "emotion,pixels,Usage\n"


def test_class_names_are_printed_as_they_are(tmp_path, capsys):
    for name in ("[red]angry", ":smile:"):
        save(tmp_path / "own" / name / "a.png", face(len(name)))
    check(tmp_path / "own")
    printed = capsys.readouterr().out
    assert "[red]angry" in printed
    assert ":smile:" in printed


@pytest.mark.large
def test_fer2013_as_its_readme_says():
    """The real folder edition, where it stands in the home folder."""
    path = Path.home() / "data" / "FER2013"
    if not path.is_dir():
        pytest.skip("no FER2013")
    dataset = open_dataset(path)
    found = audit(dataset.take(dataset.splits != "private"))
    assert found.to_dict()["duplicates"] == {
        "groups": 1273,
        "surplus": 1532,
        "across_splits": {"public in train": 280},
        "conflicting_labels": 47,
    }
