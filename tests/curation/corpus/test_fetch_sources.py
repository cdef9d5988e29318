"""Sources that are URLs, from the list to an accepted clip, with a server on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aa_curation.cli.main import main
from aa_curation.corpus.pending import is_surveyed
from aa_curation.corpus.purge import purge, take_down, without_barred
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.errors import SourceError
from aa_curation.ledger.file import LedgerWriter, read_ledger
from aa_curation.ledger.records import CorpusHead
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source, read_sources
from aa_curation.steps.worker import Worker

DEMO = Path(__file__).parents[3] / "curation/recipes/demo.py"
POLICY = FetchPolicy(
    "tests@example.org", requests_per_s=1000, attempts=1, allow_loopback=True, stall_s=2
)


Fetch = Callable[..., list[Source]]


@pytest.fixture
def site(sources_folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The sources' folder on the web, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:  # type: ignore[override]  # be quiet
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

    handler = partial(Handler, directory=str(sources_folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


@pytest.fixture
def web_list(
    site: tuple[str, list[str]],
    sources_folder: Path,
    tmp_path: Path,
    write_sources: Callable[[Path, list[dict[str, str]]], Path],
) -> Path:
    base, _ = site
    pose = str(sources_folder / "puppet_1.pose.npz")
    row = {"location": f"{base}/puppet_1.mp4", "licence": "CC0-1.0", "pose_file": pose}
    rows = [
        {**row, "source_id": "good"},
        {**row, "source_id": "again"},
        {**row, "source_id": "gone", "location": f"{base}/gone.mp4"},
        {**row, "source_id": "html", "location": f"{base}/bad_html.mp4"},
        {**row, "source_id": "unlicensed", "location": f"{base}/puppet_2.mp4", "licence": ""},
    ]
    return write_sources(tmp_path, rows)


def test_urls_become_files_once_and_each_has_its_row(
    web_list: Path, site: tuple[str, list[str]], tmp_path: Path, demo_recipe: Recipe, fetch: Fetch
) -> None:
    corpus, (_, asked) = tmp_path / "corpus", site
    sources = read_sources([web_list])
    store = Store(corpus / "sources")
    worker = Worker(demo_recipe, tmp_path)
    with LedgerWriter(corpus, CorpusHead("demo", demo_recipe.sha256)) as writer:
        files = fetch(writer, sources, POLICY, store)
        assert [source.source_id for source in files] == ["again", "good", "unlicensed"]
        assert sorted(asked) == ["/bad_html.mp4", "/gone.mp4", "/puppet_1.mp4", "/robots.txt"]
        assert not any(is_surveyed(writer.ledger, source) for source in files)
        for source in files:
            writer.add_survey(worker.survey(source))
        decisions = writer.ledger.decisions
        assert {d.source_id: (d.stage, d.reason) for d in decisions.values()} == {
            "gone": ("fetch", "http_404"),
            "html": ("fetch", "not_a_video"),
            "unlicensed": ("plan", "no_licence"),
        }
        good = next(source for source in files if source.source_id == "good")
        (planned,) = writer.ledger.surveys["good"].planned
        decision = worker.curate(planned, good)
        assert decision.status == "accepted", decision
        assert decision.clip is not None
        assert decision.clip.source == good.url

    # Another run asks for nothing: not what is here, not what was refused.
    asked.clear()
    with LedgerWriter(corpus, CorpusHead("demo", demo_recipe.sha256)) as writer:
        assert writer.ledger == read_ledger(corpus)
        again = fetch(writer, sources, POLICY, store)
        assert again == files
        assert all(is_surveyed(writer.ledger, source) for source in again)
        assert asked == []
        # A file that is gone from the store, or another URL, is asked for.
        good.path.unlink()
        fetch(writer, sources, POLICY, store)
        assert asked == ["/robots.txt", "/puppet_1.mp4"]


def test_a_file_that_was_taken_down_is_kept_under_no_other_url(
    web_list: Path, site: tuple[str, list[str]], tmp_path: Path, demo_recipe: Recipe, fetch: Fetch
) -> None:
    corpus, (base, asked) = tmp_path / "corpus", site
    good = next(source for source in read_sources([web_list]) if source.source_id == "good")
    alias = replace(good, source_id="alias", url=f"{base}/puppet_1.mp4?another")
    store, clips = Store(corpus / "sources"), corpus / "clips"
    clips.mkdir()
    worker = Worker(demo_recipe, clips)
    with LedgerWriter(corpus, CorpusHead("demo", demo_recipe.sha256)) as writer:
        for source in (good, alias):
            (fetched,) = fetch(writer, without_barred(writer, [source]), POLICY, store)
            assert fetched.path.is_file()
            writer.add_survey(worker.survey(fetched))
            if source is good:
                take_down(writer, "good")
            purge(writer.ledger, clips, store)
            assert not fetched.path.exists()
        assert {d.reason for d in writer.ledger.decisions.values()} == {"takedown"}
        asked.clear()
        assert without_barred(writer, [good, alias]) == []  # and the next run asks for neither


def test_an_outage_is_a_failed_row_and_the_next_run_asks_again(
    web_list: Path, site: tuple[str, list[str]], tmp_path: Path, demo_recipe: Recipe, fetch: Fetch
) -> None:
    corpus = tmp_path / "corpus"
    sources = [source for source in read_sources([web_list]) if source.source_id == "good"]
    base, _ = site
    down = [replace(s, url=s.url.replace(base, "http://127.0.0.1:9")) for s in sources]
    store = Store(corpus / "sources")
    with LedgerWriter(corpus, CorpusHead("demo", demo_recipe.sha256)) as writer:
        assert fetch(writer, down, POLICY, store) == []
        (row,) = writer.ledger.decisions.values()
        assert (row.status, row.stage, row.reason) == ("failed", "fetch", "FetchOutageError")
        writer.ledger.assert_complete()
        (source,) = fetch(writer, sources, POLICY, store)
        assert source.path.is_file()
        assert not is_surveyed(writer.ledger, source)


def test_nobody_crawls_without_a_name(
    web_list: Path,
    tmp_path: Path,
    demo_recipe: Recipe,
    capsys: pytest.CaptureFixture[str],
    fetch: Fetch,
) -> None:
    with (
        LedgerWriter(tmp_path / "corpus", CorpusHead("demo", demo_recipe.sha256)) as writer,
        pytest.raises(SourceError, match="give --contact"),
    ):
        fetch(writer, read_sources([web_list]), None, Store(tmp_path / "s"))
    arguments = ["run", str(DEMO), "--sources", str(web_list), "--out", str(tmp_path / "other")]
    assert main([*arguments, "--contact", "nobody"]) == 2
    assert "is not an address" in capsys.readouterr().err


def test_plan_names_the_hosts(web_list: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(DEMO), "--sources", str(web_list), "--out", "nowhere"]) == 0
    assert "3 URLs to fetch from 127.0.0.1" in capsys.readouterr().out
    assert main(["plan", str(web_list), "--out", "nowhere"]) == 0  # a list alone: by `default`
    assert capsys.readouterr().out.startswith("recipe default")
