"""Which files are meant: folders, patterns, lists, in an order that does not change."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import UsageError
from mien.sources import expand


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder of files; what is in them does not matter here."""
    names = ["b.png", "a.jpg", "notes.md", ".hidden.png", "more/d.PNG", "more/deep/c.webp", "other/z.bmp"]
    for name in names:
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "faces"


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_a_folder_gives_all_its_images_sorted(faces: Path) -> None:
    assert names(expand([faces]), faces) == ["a.jpg", "b.png", "more/d.PNG", "more/deep/c.webp", "other/z.bmp"]


def test_sources_keep_their_order_and_come_once(faces: Path) -> None:
    found = expand([faces / "other", faces / "b.png", str(faces)])
    assert names(found, faces) == ["other/z.bmp", "b.png", "a.jpg", "more/d.PNG", "more/deep/c.webp"]


def test_patterns(faces: Path) -> None:
    assert names(expand([str(faces / "*.*")]), faces) == ["a.jpg", "b.png"]
    assert names(expand([str(faces / "**" / "*.webp")]), faces) == ["more/deep/c.webp"]


def test_a_pattern_relative_to_the_working_folder(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(faces)
    assert expand(["?.png"]) == [Path("b.png")]


def test_a_file_whose_name_looks_like_a_pattern(faces: Path) -> None:
    odd = faces / "face[1].png"
    odd.touch()
    assert expand([odd]) == [odd]


def test_a_list_names_files_folders_and_patterns(faces: Path) -> None:
    listed = faces / "some.txt"
    listed.write_text("\ufeff# comment\n\n  b.png \nmore\n*.jpg\ngone.png\n", encoding="utf-8")
    assert names(expand([listed]), faces) == ["b.png", "more/d.PNG", "more/deep/c.webp", "a.jpg", "gone.png"]


def test_a_list_with_absolute_paths(faces: Path, tmp_path: Path) -> None:
    listed = tmp_path / "elsewhere.txt"
    listed.write_text(f"{faces / 'a.jpg'}\n")
    assert expand([listed]) == [faces / "a.jpg"]


def test_a_list_may_not_name_a_list(faces: Path) -> None:
    (faces / "loop.txt").write_text("loop.txt\n")
    with pytest.raises(UsageError, match="may not name another list"):
        expand([faces / "loop.txt"])


def test_a_list_that_is_not_text(faces: Path) -> None:
    (faces / "photo.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError, match=r"photo\.txt: the list cannot be read as UTF-8"):
        expand([faces / "photo.txt"])


def test_a_missing_file_is_kept_beside_others(faces: Path) -> None:
    assert expand([faces / "gone.png", faces / "a.jpg"]) == [faces / "gone.png", faces / "a.jpg"]


def test_nothing_found_is_an_error_that_names_the_sources(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for sources in (["gone.png"], [str(tmp_path / "empty")], [str(faces / "*.tiff")], []):
        with pytest.raises(UsageError, match=r"no images found in .*\.jpg"):
            expand(sources)


@pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege on Windows")
def test_loops_of_links_end(faces: Path) -> None:
    (faces / "more" / "up").symlink_to(faces, target_is_directory=True)
    (faces / "twice").symlink_to(faces / "other", target_is_directory=True)
    (faces / "broken.png").symlink_to(faces / "nowhere.png")
    assert names(expand([faces]), faces) == ["a.jpg", "b.png", "more/d.PNG", "more/deep/c.webp", "other/z.bmp"]


@given(st.permutations(["a.jpg", "b.png", "more", "other/z.bmp"]))
def test_every_source_is_found_whatever_the_order(tmp_path_factory: pytest.TempPathFactory, order: list[str]) -> None:
    root = tmp_path_factory.mktemp("faces")
    for name in ("a.jpg", "b.png", "more/c.gif", "other/z.bmp"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    found = names(expand([root / name for name in order]), root)
    assert found == [name if name != "more" else "more/c.gif" for name in order]
