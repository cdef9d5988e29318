from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from aa_curation.errors import PackageError, SourceError
from aa_curation.models.installed_file import installed_file
from aa_curation.sources.source_list import read_sources

HEADER = "source_id,location,licence,split,start_s,end_s,crop_x0,crop_y0,crop_x1,crop_y1\n"


def _list(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "list.csv"
    path.write_text(header + "".join(row + "\n" for row in rows))
    return path


def test_sources_are_sorted_and_their_paths_are_relative_to_the_list(tmp_path: Path) -> None:
    b, a = read_sources([_list(tmp_path, "z,sub/z.mp4,MIT", "a,a.mp4,MIT,test,0.5,2")])[::-1]
    assert (a.source_id, b.source_id) == ("a", "z")
    assert b.path == (tmp_path / "sub/z.mp4").resolve()
    assert (a.split, a.span_s) == ("test", (0.5, 2.0))
    assert (b.split, b.span_s, b.crop_px) == ("train", None, None)


def test_a_row_without_licence_is_read_and_left_to_the_survey_to_reject(tmp_path: Path) -> None:
    (source,) = read_sources([_list(tmp_path, "a,a.mp4,")])
    assert source.licence == ""


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("A.b,a.mp4,MIT", "must be of a-z"),
        ("a,,MIT", "location is empty"),
        ("a,ftp://example.org/a.mp4,MIT", "cannot fetch"),
        ("a,https://me:secret@example.org/a.mp4,MIT", "user name or password"),
        ("a,a.mp4,MIT,train,1,", "must all be numbers"),
        ("a,a.mp4,MIT,train,3,2", "is empty"),
        ("a,a.mp4,MIT,train,,,10,0,10,5", "crop"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_sources([_list(tmp_path, row)])
    assert "line 2" in str(caught.value)


def test_an_id_may_be_used_once_over_all_lists(tmp_path: Path) -> None:
    path = _list(tmp_path, "a,a.mp4,MIT")
    (source,) = read_sources([path])
    with pytest.warns(RuntimeWarning, match="1 rows of the lists are there twice"):
        assert read_sources([path, path]) == [source]
    (tmp_path / "other").mkdir()
    with pytest.raises(SourceError, match="used twice"):
        read_sources([path, _list(tmp_path / "other", "a,b.mp4,MIT")])


def test_a_list_without_licence_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="lacks the column licence"):
        read_sources([_list(tmp_path, "a,b", header="source_id,location\n")])


def test_a_folder_of_videos_is_a_list_once_it_has_a_licence(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("x.mp4", "sub/X (1).MOV", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(SourceError, match=r"lacks the column licence \(2 videos\)"):
        read_sources([tmp_path])
    found = read_sources([tmp_path], licence="CC-BY-4.0")
    assert [source.path.name for source in found] == ["x.mp4", "X (1).MOV"]
    assert {source.licence for source in found} == {"CC-BY-4.0"}
    assert found == read_sources([tmp_path], licence="CC-BY-4.0")


def test_an_id_is_made_of_what_a_row_means_and_not_of_its_place(tmp_path: Path) -> None:
    header = "location,licence,start_s,end_s\n"
    rows = ["a/Dance 7.mp4,MIT,,", "b/Dance 7.mp4,MIT,,", "a/Dance 7.mp4,MIT,1,3"]
    found = read_sources([_list(tmp_path, *rows, header=header)])
    again = read_sources([_list(tmp_path, *rows[::-1], header=header)])
    assert found == again
    assert len({source.source_id for source in found}) == 3
    assert all(source.source_id.startswith("dance_7-") for source in found)


def test_a_licence_for_the_rest_does_not_touch_the_rows_that_state_one(tmp_path: Path) -> None:
    found = read_sources([_list(tmp_path, "a,a.mp4,MIT", "b,b.mp4,")], licence="unknown")
    assert [source.licence for source in found] == ["MIT", "unknown"]


def test_a_missing_package_names_the_command_that_installs_it(tmp_path: Path) -> None:
    row = "a,package:no-such-package==1.0/x.mp4,MIT"
    with pytest.raises(PackageError, match=r"pip install --no-deps no-such-package==1\.0"):
        read_sources([_list(tmp_path, row)])


def test_another_version_or_a_missing_file_of_a_package_is_refused() -> None:
    with pytest.raises(PackageError, match=r"expected 0\.0\.1"):
        installed_file("numpy", "0.0.1", "numpy/__init__.py")
    with pytest.raises(PackageError, match="holds no file numpy/no_such"):
        installed_file("numpy", version("numpy"), "numpy/no_such")
    assert installed_file("numpy", version("numpy"), "numpy/__init__.py").is_file()
