from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np
import pytest

from aa_curation.errors import PackageError, SourceError
from aa_curation.models.installed_file import installed_file
from aa_curation.sources.source_list import read_sources
from aa_datasets.video.foreign import iter_foreign_frames

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
        ("a,,MIT", "is empty or holds a NUL"),
        ("a,x\0.mp4,MIT", "is empty or holds a NUL"),
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
    with pytest.warns(RuntimeWarning, match="1 rows of the lists are repeated"):
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
        read_sources([tmp_path], tell=str)
    found = read_sources([tmp_path], licence="CC-BY-4.0", tell=str)
    assert [source.path.name for source in found] == ["x.mp4", "X (1).MOV"]
    assert {source.licence for source in found} == {"CC-BY-4.0"}
    assert found == read_sources([tmp_path], licence="CC-BY-4.0", tell=str)


def test_a_folder_is_searched_for_every_container_that_is_read(tmp_path: Path) -> None:
    """One file each of FFmpeg's containers that the reader opens, found and decoded."""
    made, rng = set(), np.random.default_rng(1)
    for suffix in (".ts", ".mts", ".m2ts", ".mpg", ".wmv", ".flv", ".ogv", ".3gp", ".gif", ".MKV"):
        codec, pixels = {
            ".mpg": ("mpeg2video", "yuv420p"),
            ".wmv": ("wmv2", "yuv420p"),
            ".ogv": ("libvpx", "yuv420p"),
            ".gif": ("gif", "rgb8"),
        }.get(suffix, ("libx264", "yuv420p"))
        path = tmp_path / f"made{suffix}"
        with av.open(path, "w", format={".MKV": "matroska"}.get(suffix)) as container:
            stream = container.add_stream(codec, rate=25, width=64, height=64, pix_fmt=pixels)
            for _ in range(30):
                noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(noise)))
            container.mux(stream.encode())
        made.add(path.name)
    found = read_sources([tmp_path], licence="MIT")
    frames = {s.path.name: len(list(iter_foreign_frames(s.path))) for s in found}
    assert frames.keys() == made
    assert min(frames.values()) >= 29


def test_linked_folders_are_entered_once_and_without_loops(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    (folder / "z_real").mkdir(parents=True)
    outside.mkdir()
    for path in (outside / "a.mp4", folder / "z_real/b.mp4", folder / "c.mp4"):
        path.touch()
    (folder / "linked").symlink_to(outside)
    (folder / "a_link_to_real").symlink_to("z_real")
    (outside / "back").symlink_to(folder)
    (folder / "itself.mp4").symlink_to("itself.mp4")
    found = sorted(source.location for source in read_sources([folder], licence="MIT"))
    assert found == ["c.mp4", "itself.mp4", "linked/a.mp4", "z_real/b.mp4"]


def test_a_folder_says_what_it_leaves_out(tmp_path: Path) -> None:
    for name in (b"a.mp4", b"caf\xe9.mp4", b"b.txt", b"c.TXT", b"README"):
        (tmp_path / os.fsdecode(name)).touch()
    notes: list[str] = []
    (source,) = read_sources([tmp_path], licence="MIT", tell=notes.append)
    assert source.location == "a.mp4"
    assert notes == [
        f"{tmp_path}: the file name caf\\xe9.mp4 is not UTF-8: rename it, it is left out",
        f"{tmp_path}: left out 3 files without a video's suffix (2 .txt, 1 no suffix)",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "locked").mkdir(mode=0)
    notes: list[str] = []
    read_sources([tmp_path], licence="MIT", tell=notes.append)
    assert notes == [
        f"{tmp_path / 'locked'} cannot be read (Permission denied): nothing of it is taken"
    ]


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


def test_a_folder_without_videos_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("no video")
    with pytest.raises(SourceError, match=rf"no video is named by --sources {tmp_path}: give"):
        read_sources([tmp_path], licence="unknown", tell=lambda note: None)
