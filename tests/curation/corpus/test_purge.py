"""A takedown's files: what goes, what stays, what never comes back, in a ledger made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from aa_curation.corpus.purge import make_tombstone, purge, take_down, without_barred
from aa_curation.crawl.store import Store
from aa_curation.errors import LedgerError
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.records import CorpusHead, Fetch, Fetched, PlannedClip, Survey
from aa_curation.ledger.takedown import Takedown
from aa_curation.sources.source_list import Source

HEAD = CorpusHead("test", "0" * 64)


def _fetch(source_id: str, url: str, sha256: str = "") -> Fetch:
    file = Fetched(url, url, sha256, 3, "video/mp4", "", "", "2026-01-01T00:00:00Z")
    return Fetch(source_id, url, file if sha256 else None)


def _survey(source_id: str, sha256: str, packets: str = "") -> Survey:
    clip = PlannedClip(f"{source_id}-0000", source_id, 0, 1, 25, (64, 64), ())
    return Survey(source_id, sha256, packets, 3, 0, (clip,), ())


def _put(store: Store, sha256: str) -> Path:
    path = store.path(sha256)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"mp4")
    return path


def _source(source_id: str, url: str = "") -> Source:
    place = f"{source_id}.mp4"
    return Source(source_id, place, "CC0-1.0", "", False, "", Path(place), url=url)


def test_a_tombstone_holds_all_that_is_known_of_a_source(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, HEAD) as writer:
        writer.add_fetch(_fetch("both", "http://a/both", "b" * 64))
        writer.add_survey(_survey("both", "c" * 64, "d" * 64))
        writer.add_fetch(_fetch("only_fetched", "http://a/fetched", "e" * 64))
        writer.add_fetch(_fetch("not_had", "http://a/none"))
        writer.add_survey(_survey("only_surveyed", "f" * 64, "0" * 64))
        assert {name: make_tombstone(writer.ledger, name) for name in (
            "both", "only_fetched", "not_had", "only_surveyed"
        )} == {
            "both": Takedown("both", "http://a/both", "c" * 64, "d" * 64, "b" * 64),
            "only_fetched": Takedown("only_fetched", "http://a/fetched", "", "", "e" * 64),
            "not_had": Takedown("not_had", "http://a/none"),
            "only_surveyed": Takedown("only_surveyed", "", "f" * 64, "0" * 64),
        }  # fmt: skip
        with pytest.raises(LedgerError, match="no source 'nowhere' in this corpus"):
            make_tombstone(writer.ledger, "nowhere")
        first = take_down(writer, "both")
        writer.add_fetch(_fetch("both", "http://elsewhere", "9" * 64))
        assert take_down(writer, "both") == first  # written once: what it barred stays barred
        assert list(writer.ledger.takedowns) == ["both"]


def test_a_purge_deletes_what_was_fetched_under_any_url_and_nothing_else(tmp_path: Path) -> None:
    store, clips = Store(tmp_path / "store"), tmp_path / "clips"
    clips.mkdir()
    with LedgerWriter(tmp_path / "corpus", HEAD) as writer:
        for name, url, sha256 in (
            ("gone", "http://a/gone", "aa" * 32),
            ("gone_too", "http://b/other-name", "aa" * 32),  # the same file by another URL
            ("remuxed", "http://c/remuxed", "bb" * 32),  # the same packets
            ("kept", "http://d/kept", "cc" * 32),
        ):
            writer.add_fetch(_fetch(name, url, sha256))
            packets = "ee" * 32 if name != "kept" else "ff" * 32
            writer.add_survey(_survey(name, sha256, packets))
        writer.add_fetch(_fetch("never_had", "http://e/half"))
        files = {sha256: _put(store, sha256) for sha256 in ("aa" * 32, "bb" * 32, "cc" * 32)}
        partials = {}
        for url in ("http://a/gone", "http://b/other-name", "http://d/kept", "http://e/half"):
            with store.partial(url).begin('"v1"') as file:
                file.write(b"half")
            partials[url] = store.partial(url)
        for name in ("gone-0000.mp4", ".gone-0001.mp4.7.tmp", "gone_too-0000.pose.npz",
                     "kept-0000.mp4", "gone-later-0000.mp4", ".kept-0000.mp4.7.tmp"):  # fmt: skip
            (clips / name).write_bytes(b"x")
        purge(writer.ledger, clips, store)
        assert len(list(clips.iterdir())) == 6, "nothing is taken down yet"
        for name in ("gone", "never_had"):
            take_down(writer, name)
        for _ in range(2):  # repeatable
            purge(writer.ledger, clips, store)
            assert {path.name for path in clips.iterdir()} == {
                "kept-0000.mp4", "gone-later-0000.mp4", ".kept-0000.mp4.7.tmp"
            }  # fmt: skip
            assert [sha256[:2] for sha256, path in files.items() if path.exists()] == ["cc"]
            left = [url for url, partial in partials.items() if partial.resume_from()[0]]
            assert left == ["http://d/kept"]


def test_a_barred_source_is_rejected_unseen_and_its_url_is_not_asked_again(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, HEAD) as writer:
        writer.add_fetch(_fetch("gone", "http://a/gone", "a" * 64))
        writer.add_survey(_survey("gone", "a" * 64))
        writer.add_survey(_survey("same_file", "a" * 64))  # found to be it after its fetch
        take_down(writer, "gone")
        before = writer.ledger.surveys["gone"]
        sources = [
            _source("gone"),
            _source("new_name", "http://a/gone"),
            _source("same_file", "http://b/same"),
            _source("kept", "http://c/kept"),
        ]
        assert [s.source_id for s in without_barred(writer, sources)] == ["kept"]
        assert writer.ledger.surveys["gone"] == before, "one row a source: it has its own already"
        assert writer.ledger.surveys["new_name"].decisions[0].reason == "takedown"
        assert "kept" not in writer.ledger.surveys
        # A file on the disk costs no request: the survey finds by its content that it is barred.
        assert without_barred(writer, [_source("same_file")]) == [_source("same_file")]
