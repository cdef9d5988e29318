"""A crawl by processes of a Ray cluster, of a server on this machine that has two names."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from aa_curation.check import Drop
from aa_curation.corpus.object_store import CopyLimits
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.executors.local import Local
from aa_curation.executors.ray_executor import Ray
from aa_curation.executors.ray_fetchers import RayFetchers, _owner
from aa_curation.executors.run import run
from aa_curation.ledger.file import read_ledger
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Fetched
from aa_curation.recipe import Recipe

INTERVAL_S = 0.4
POLICY = FetchPolicy(
    "tests@example.org",
    requests_per_s=1 / INTERVAL_S,
    attempts=2,
    backoff_s=0.01,
    allow_loopback=True,
)
HOSTS = ("127.0.0.1", "localhost")
COUNT = 3  # the two hosts belong to two of three processes


@dataclass
class Request:
    host: str
    path: str
    at_s: float
    pid: int


@dataclass
class Site:
    port: int = 0
    seen: list[Request] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)  # by path: how often it kills who asks

    def of(self, host: str) -> list[Request]:
        return [request for request in self.seen if request.host == host]


class Handler(SimpleHTTPRequestHandler):
    def __init__(self, site: Site, *arguments: object, **options: object) -> None:
        self.site = site
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:  # type: ignore[override]  # be quiet
        pass

    def do_GET(self) -> None:
        at_s, port = time.monotonic(), self.client_address[1]
        found = psutil.net_connections("tcp4")
        (pid,) = {c.pid for c in found if c.laddr and c.laddr.port == port and c.pid}
        host = self.headers["Host"].partition(":")[0]
        self.site.seen.append(Request(host, self.path, at_s, pid))
        if self.site.kills[self.path]:
            self.site.kills[self.path] -= 1
            os.kill(pid, signal.SIGKILL)
        elif self.path == "/robots.txt":
            rules = b"User-agent: *\nDisallow: /bad_html\n" if host == "localhost" else b""
            self.send_response(200)
            self.send_header("Content-Length", str(len(rules)))
            self.end_headers()
            self.wfile.write(rules)
        elif self.path.startswith("/to-other/"):
            other = next(name for name in HOSTS if name != host)
            self.send_response(302)
            self.send_header("Location", f"http://{other}:{self.site.port}/{self.path[10:]}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()


@pytest.fixture
def site(sources_folder: Path) -> Iterator[Site]:
    made = Site()
    handler = partial(Handler, made, directory=str(sources_folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield made
        server.shutdown()


@pytest.fixture
def web_list(
    site: Site,
    sources_folder: Path,
    tmp_path: Path,
    write_sources: Callable[[Path, list[dict[str, str]]], Path],
) -> Path:
    """Three puppets of each host, one of them from the other host, and files that are refused."""
    rows = []
    for place, host in enumerate(HOSTS):
        paths = {
            f"puppet_{place}": f"puppet_{place}.mp4",
            f"puppet_{place + 2}": f"puppet_{place + 2}.mp4",
            f"puppet_{4 - 4 * place}": f"to-other/puppet_{4 - 4 * place}.mp4",
            "gone": "gone.mp4",
            "html": "bad_html.mp4",
        }
        for name, path in paths.items():
            row = {"source_id": f"{host.replace('.', '_')}_{name}", "licence": "CC0-1.0"}
            if name.startswith("puppet"):
                row["pose_file"] = str(sources_folder / f"{name}.pose.npz")
            rows.append({**row, "location": f"http://{host}:{site.port}/{path}"})
    return write_sources(tmp_path, rows)


def _contents(folder: Path) -> dict[str, str]:
    files = [*folder.glob("shards/*"), *folder.glob("sources/??/*"), folder / "clips.csv"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _verdicts(ledger: Ledger) -> dict[str, tuple[str, str, str]]:
    return {d.clip_id: (d.status, d.stage, d.reason) for d in ledger.decisions.values()}


def _assert_paced(requests: list[Request], tolerance_s: float = 0.15) -> None:
    """A server on a busy machine may see one request late, and so the next one early."""
    at_s = sorted(request.at_s for request in requests)
    gaps_s = [after - before for before, after in pairwise(at_s)]
    assert min(gaps_s) > INTERVAL_S - tolerance_s, gaps_s
    assert at_s[-1] - at_s[0] > (len(at_s) - 1) * INTERVAL_S - tolerance_s, gaps_s


def test_each_host_is_one_of_the_processes_in_every_process() -> None:
    assert [_owner(host, COUNT) for host in HOSTS] == [2, 1]


@pytest.mark.slow
def test_a_crawl_over_processes_keeps_the_pace_of_hosts_and_makes_the_bytes_of_a_local_one(
    site: Site, web_list: Path, tmp_path: Path, small_shards: Recipe
) -> None:
    local, spread = tmp_path / "local", tmp_path / "spread"
    run(small_shards, [web_list], local, Local(), fetch=POLICY)
    assert {request.pid for request in site.seen} == {os.getpid()}
    asked = Counter((request.host, request.path) for request in site.seen)
    site.seen.clear()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        on_cluster = Ray(workers=1, address=cluster.address, fetchers=COUNT)
        ledger = run(small_shards, [web_list], spread, on_cluster, fetch=POLICY)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert _contents(spread) == _contents(local)
    assert _verdicts(ledger) == _verdicts(read_ledger(local))
    assert Counter(reason for _, stage, reason in _verdicts(ledger).values() if stage == "fetch") \
        == {"http_404": 2, "not_a_video": 1, "robots_txt": 1}  # fmt: skip
    assert Counter((request.host, request.path) for request in site.seen) == asked
    askers = [{request.pid for request in site.of(host)} for host in HOSTS]
    assert [len(pids) for pids in askers] == [1, 1], "one process asks a host, redirects included"
    assert len({os.getpid()}.union(*askers)) == 3
    for host in HOSTS:
        _assert_paced(site.of(host))


@pytest.mark.slow
def test_what_kills_its_process_twice_is_a_failed_row_and_the_pace_is_kept_over_deaths(
    site: Site, web_list: Path, tmp_path: Path, small_shards: Recipe
) -> None:
    site.kills.update({"/puppet_0.mp4": 1, "/gone.mp4": 4})  # of both hosts, two times each
    ledger = run(
        small_shards, [web_list], tmp_path / "corpus", Ray(workers=1, fetchers=COUNT), fetch=POLICY
    )
    for host in HOSTS:
        gone = ledger.decisions[f"{host.replace('.', '_')}_gone-0000"]
        assert gone.status == "failed"
        assert "killed its fetcher 2 times" in gone.detail
        assert len({request.pid for request in site.of(host)}) >= 3
        _assert_paced(site.of(host))
    assert len(ledger.ids_of("accepted")) >= 4
    # The next run tries them again.
    again = run(small_shards, [web_list], tmp_path / "corpus", Local(), fetch=POLICY)
    assert again.num_of("failed") == 0
    run(small_shards, [web_list], tmp_path / "local", Local(), fetch=POLICY)
    assert _verdicts(again) == _verdicts(read_ledger(tmp_path / "local"))


@pytest.mark.slow
def test_objects_are_copied_by_the_processes_and_closing_ends_what_waits_for_them(
    tmp_path: Path,
) -> None:
    content, store = os.urandom(1000), Store(tmp_path / "sources")
    (tmp_path / "a.mp4").write_bytes(content)
    ray.init("local", num_cpus=1, include_dashboard=False, object_store_memory=80 << 20)
    try:
        fetchers = RayFetchers(2, store)
        limits, stop = CopyLimits(attempts=100, backoff_s=60), threading.Event()
        copied = fetchers.copy(f"local://{tmp_path}/a.mp4", store, limits, stop)
        assert isinstance(copied, Fetched), copied
        assert store.path(copied.sha256).read_bytes() == content
        missing = fetchers.copy(f"local://{tmp_path}/b.mp4", store, limits, stop)
        assert isinstance(missing, Drop)
        assert missing.reason == "no_object"
        # A file in the place of its folder is an outage, which is tried again after a minute.
        with ThreadPoolExecutor() as pool:
            waits = pool.submit(fetchers.copy, f"local://{tmp_path}/a.mp4/c", store, limits, stop)
            time.sleep(1)
            assert not waits.done()
            fetchers.close()
            assert "the crawl was stopped" in str(waits.result(timeout=20))
    finally:
        ray.shutdown()
