"""One list in every form, and the public lists of the field as they are published."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

from aa_curation.cli.main import main
from aa_curation.crawl.store import Store
from aa_curation.errors import SourceError
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.records import CorpusHead
from aa_curation.recipe import Recipe
from aa_curation.sources.list_formats import read_rows
from aa_curation.sources.source_list import Source, read_sources
from aa_curation.steps.worker import Worker
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical

LISTS = Path(__file__).parents[3] / "../shared/lists"
ROWS: list[dict[str, object]] = [
    {
        "source_id": "a",
        "location": "a, b.mp4",
        "licence": "CC-BY-4.0",
        "owner": "Ä. Owner",
        "consent": "signed 2024",
        "uploader": "u1",
        "person": "p1",
        "synthetic": True,
        "split": "test",
        "start_s": 0.5,
        "end_s": 2,
        **dict(zip(("crop_x0", "crop_y0", "crop_x1", "crop_y1"), (1, 2, 30, 40), strict=True)),
    },
    {"source_id": "b", "location": "https://example.org/b.mp4", "licence": None},
]


def _write(folder: Path, suffix: str) -> Path:
    path = folder / f"list{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in ROWS))
    elif suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            delimiter = "\t" if suffix == ".tsv" else ","
            writer = csv.DictWriter(file, list(ROWS[0]), restval="", delimiter=delimiter)
            writer.writeheader()
            writer.writerows(ROWS)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_form_gives_the_same_sources(tmp_path: Path, suffix: str) -> None:
    a, b = read_sources([_write(tmp_path, suffix)])
    assert a == Source(
        source_id="a",
        location="a, b.mp4",
        licence="CC-BY-4.0",
        owner="Ä. Owner",
        synthetic=True,
        split="test",
        path=(tmp_path / "a, b.mp4").resolve(),
        span_s=(0.5, 2.0),
        crop_px=(1, 2, 30, 40),
        consent="signed 2024",
        uploader="u1",
        person="p1",
    )
    assert (b.url, b.licence, b.split) == ("https://example.org/b.mp4", "", "train")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.xlsx", b"PK", "has an unknown form"),
        ("x.parquet", b"not parquet", "cannot read the source list"),
        ("x.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("x.jsonl", b"{", "cannot read the source list"),
        ("x.csv", b"", "it is empty"),
        ("x.csv", b"location,owner\na.mp4,me,and you\n", "line 2 has 3 cells, expected 2"),
        ("x.csv", b'location\na.mp4\n"b.mp4\n', "the row that starts in line 3"),
        ("x.csv", b"name,caption\na,b\n", "none of the columns location, url.* it has name, capt"),
        ("x.csv", b"url,licence,license\na.mp4,MIT,GPL\n", "line 2: .* different licences"),
        (
            "x.jsonl",
            b'{"url": "a", "timestamp": [[1, 2]]}\n{"url": "b", "timestamp": "x"}\n',
            "line 2: 'x' holds no spans",
        ),
        ("x.csv", b"location,licence\n\xff\xfe,MIT\n", "cannot read the source list"),
        (
            "x.csv",
            b"video_id,start,end,bbox,fps,width,height,partition\na,1,2,1-2-3,25,4,4,train\n",
            "line 2 is not a row of a TaiChi-HD list",
        ),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_sources([tmp_path / name], licence="MIT")


def test_odd_spellings_of_lists_are_read(tmp_path: Path) -> None:
    (tmp_path / "urls.csv").write_text("url,licence\nHTTP://example.org/a.mp4,MIT\n")
    (source,) = read_sources([tmp_path / "urls.csv"])
    assert source.url == "HTTP://example.org/a.mp4"
    rows = ['{"location": "a.mp4", "owner": "one\u2028two", "licence": "MIT"}',
            '{"location": "b.mp4", "licence": "MIT"}']  # fmt: skip
    (tmp_path / "rows.jsonl").write_bytes("\r\n".join(rows).encode())
    a, b = sorted(read_sources([tmp_path / "rows.jsonl"]), key=lambda s: s.location)
    assert (a.owner, b.location) == ("one\u2028two", "b.mp4")


@pytest.mark.parametrize(
    "content",
    [
        "location,license\na.mp4,MIT\n",
        "Location,Licence\na.mp4,MIT\n",
        "location, licence\na.mp4, MIT\n",
        "location;licence\na.mp4;MIT\n",
        "location\tlicence\na.mp4\tMIT\n",
        "location|licence|owner\na.mp4|MIT\n",
        "Video Path,License Name\r\na.mp4,MIT\r\n",
    ],
)
def test_the_usual_spellings_of_a_csv_are_one_list(tmp_path: Path, content: str) -> None:
    (tmp_path / "list.csv").write_bytes(content.encode())
    (source,) = read_sources([tmp_path / "list.csv"])
    assert (source.path, source.licence) == (tmp_path / "a.mp4", "MIT")


@pytest.mark.parametrize("column", ["licence", "license", "License Name"])
def test_a_licence_for_the_rest_never_replaces_a_stated_one(tmp_path: Path, column: str) -> None:
    (tmp_path / "list.csv").write_text(f"url,{column}\na.mp4,CC-BY-4.0\nb.mp4,\n")
    found = read_sources([tmp_path / "list.csv"], licence="unknown")
    assert sorted(source.licence for source in found) == ["CC-BY-4.0", "unknown"]


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    notes: list[str] = []
    path = tmp_path / "list.csv"
    path.write_text("url,video,licence,rights,timestamp\na.mp4,a,MIT,all,2024-01-01 10:00\n")
    (source,) = read_sources([path], tell=notes.append)
    assert (source.location, source.span_s) == ("a.mp4", None)
    assert notes == [f"{path}: ignored columns: video, rights, timestamp"]
    with pytest.warns(RuntimeWarning, match="ignored columns: video, rights, timestamp"):
        read_sources([path])


PANDA = (
    "videoID,url,timestamp,caption\n"
    "a,https://example.org/a.mp4,"
    "\"[['0:00:16.300', '0:01:02.5'], ['1:00:00', '1:00:03']]\",\"['x']\"\n"
    "b,https://example.org/b.mp4,[],[]\n"
)  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_each_span_of_a_timestamp_is_a_source(tmp_path: Path, suffix: str) -> None:
    """As Panda-70M's csv, and the parquet made of it, list them."""
    path, notes = tmp_path / f"panda{suffix}", list[str]()
    if suffix == ".csv":
        path.write_text(PANDA)
    else:
        spans = [["0:00:16.300", "0:01:02.5"], ["1:00:00", "1:00:03"]]
        rows = [{"url": "https://example.org/a.mp4", "timestamp": spans, "caption": ["x"]},
                {"url": "https://example.org/b.mp4", "timestamp": [], "caption": []}]  # fmt: skip
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    found = read_sources([path], licence="unknown", tell=notes.append)
    assert sorted(source.span_s or () for source in found) == [(16.3, 62.5), (3600, 3603)]
    assert {source.url for source in found} == {"https://example.org/a.mp4"}
    assert len({source.source_id for source in found}) == 2
    assert "caption" in notes[0]
    assert "left out 1 rows whose timestamp names no span" in notes[1]


def test_times_of_the_clock_are_seconds(tmp_path: Path) -> None:
    """As Human4DiT lists its clips."""
    path = tmp_path / "list.csv"
    path.write_text(
        "source_id,video_url,start_time,end_time,licence\nx,a.mp4,00:00.5,01:04.4,MIT\n"
    )
    (source,) = read_sources([path])
    assert (source.source_id, source.span_s) == ("x", (0.5, 64.4))
    path.write_text('source_id,url,timestamp,licence\nx,a.mp4,"[[0, 1], [2, 3.5]]",MIT\n')
    found = read_sources([path])
    assert {s.source_id: s.span_s for s in found} == {"x_000": (0, 1), "x_001": (2, 3.5)}


@pytest.mark.parametrize("url", ["https://example.org/list.csv", "simplecache::s3://b/list.csv"])
def test_a_list_is_read_from_files_and_object_stores_only(url: str) -> None:
    with pytest.raises(SourceError, match="a list is read from a path or from"):
        read_rows(url)


def test_ubc_fashion_lists_need_a_licence_and_know_their_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        urls = [f"https://m.media-amazon.com/images/I/{split}{n}+S.mp4" for n in range(3)]
        (tmp_path / f"fashion_{split}.txt").write_text("\n".join(urls) + "\n")
    paths = [tmp_path / "fashion_train.txt", tmp_path / "fashion_test.txt"]
    with pytest.raises(SourceError, match="`--licence unknown` accepts them"):
        read_sources(paths)
    found = read_sources(paths, licence="unknown")
    assert sorted(source.split for source in found) == ["test"] * 3 + ["train"] * 3
    assert all(source.url.startswith("https://m.media-amazon.com/") for source in found)
    demo = Path(__file__).parents[3] / "curation/recipes/demo.py"
    arguments = ["plan", str(demo), "--sources", str(paths[0]), "--out", "nowhere"]
    assert main(arguments) == 2
    assert "lacks the column licence" in capsys.readouterr().err
    assert main([*arguments, "--licence", "unknown"]) == 0
    assert "3 URLs to fetch from m.media-amazon.com" in capsys.readouterr().out


TAICHI = """video_id,start,end,bbox,fps,width,height,partition
aB-c,0,26,32-16-96-80,26,128,96,train
aB-c,26,52,32-16-96-80,26,128,96,train
zz,0,25,0-0-10-10,25,20,20,test
"""


def test_taichi_rows_are_spans_of_the_users_own_copy(tmp_path: Path) -> None:
    path = tmp_path / "taichi-metadata.csv"
    path.write_text(TAICHI)
    videos = tmp_path / "videos"
    found = sorted(
        read_sources([path], licence="unknown", videos=videos), key=lambda s: (s.location, s.span_s)
    )
    assert [source.path for source in found] == [
        *[(videos / "aB-c.mp4").resolve()] * 2,
        (videos / "zz.mp4").resolve(),
    ]
    assert [source.span_s for source in found] == [(0, 1), (1, 2), (0, 1)]
    assert (found[0].crop_px, found[0].crop_of_wh) == ((32, 16, 96, 80), (128, 96))
    assert [source.split for source in found] == ["train", "train", "test"]


def test_the_crop_of_a_taichi_row_fits_a_copy_of_another_size(
    tmp_path: Path, demo_recipe: Recipe
) -> None:
    frames = render_puppet(1, 2, num_frames=52, size_hw=(480, 640)).frames
    (tmp_path / "aB-c.mp4").write_bytes(encode_canonical(frames, 26))
    (tmp_path / "list.csv").write_text("".join(TAICHI.splitlines(keepends=True)[:3]))
    sources = read_sources([tmp_path / "list.csv"], licence="unknown")
    surveys = [Worker(demo_recipe, tmp_path).survey(source) for source in sources]
    clips = sorted((clip for s in surveys for clip in s.planned), key=lambda c: c.start_s)
    assert [(c.crop_px, c.size_hw) for c in clips] == [((160, 80, 480, 400), (320, 320))] * 2
    assert [c.start_s for c in clips] == [0, 1]


def test_the_published_lists_are_read_whole() -> None:
    if not LISTS.is_dir():
        pytest.skip("skipped: no ../shared")
    counts = {
        "fashion_train.txt": 500,
        "fashion_test.txt": 100,
        "humanvid-pexels-test-urls.txt": 71,
    }
    for name, count in counts.items():
        assert len(read_sources([LISTS / name], licence="unknown")) == count
    lines = (LISTS / "taichi-metadata.csv").read_text().splitlines()[1:]
    found = read_sources([LISTS / "taichi-metadata.csv"], licence="unknown")
    assert len(found) == len([line for line in lines if line])
    assert all(s.span_s and s.crop_px and s.crop_of_wh for s in found)


def test_an_object_store_is_a_list_a_folder_and_a_place_for_videos(
    tmp_path: Path,
    demo_recipe: Recipe,
    write_puppet: Callable[..., dict[str, str]],
    fetch: Callable[..., list[Source]],
) -> None:
    """fsspec's store in memory, by URL, as s3:// would be."""
    write_puppet(tmp_path, 1)
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/in/puppet.mp4", (tmp_path / "puppet_1.mp4").read_bytes())
    memory.pipe("/bucket/in/empty.mp4", b"")
    memory.pipe(
        "/bucket/list.csv",
        b"source_id,location,licence\np,in/puppet.mp4,MIT\n"
        b"e,memory://bucket/in/empty.mp4,MIT\ng,in/gone.mp4,MIT\n",
    )
    sources = read_sources(["memory://bucket/list.csv"])
    folder = read_sources(["memory://bucket/in"], licence="MIT")
    assert {source.url for source in folder} == {
        "memory:///bucket/in/empty.mp4",
        "memory:///bucket/in/puppet.mp4",
    }
    store = Store(tmp_path / "store")
    with LedgerWriter(tmp_path / "corpus", CorpusHead("demo", demo_recipe.sha256)) as writer:
        (found,) = fetch(writer, sources, None, store)
        reasons = {d.source_id: d.reason for d in writer.ledger.decisions.values()}
    assert reasons == {"e": "empty_body", "g": "no_object"}
    assert found.path.read_bytes() == (tmp_path / "puppet_1.mp4").read_bytes()
    assert found.location == "memory://bucket/in/puppet.mp4"
