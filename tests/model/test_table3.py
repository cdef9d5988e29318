"""The miniature Table 3: its budget, its intervals, its page, and its runs that go on."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from aa_eval.result import SCHEMA, MetricValue, Result, write_result
from aa_model.checkpoints.store import read_checkpoint, read_part, write_checkpoint
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import parts_of
from aa_model.presets import TINY

ROOT = Path(__file__).parents[2]
TABLE3 = ROOT / "benchmarks" / "table3"


@pytest.fixture(scope="module")
def load() -> Iterator[Callable[[str], ModuleType]]:
    """Modules in the folder of the script, as Python finds them when it runs the script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TABLE3))
        yield importlib.import_module
    for name in ("run", "budget", "intervals", "pictures", "report", "scores"):
        sys.modules.pop(name, None)  # names that other folders of scripts have too


def bounds(found: object) -> tuple[float, float]:
    return found.mean - found.half, found.mean + found.half  # type: ignore[attr-defined]  # Estimate


def test_with_one_source_of_spread_the_intervals_are_the_textbooks(
    load: Callable[[str], ModuleType],
) -> None:
    m, rng = load("intervals"), np.random.default_rng(0)
    seeds, others, videos = rng.normal(size=3), rng.normal(size=4), rng.normal(size=9)
    over_seeds, over_videos = np.repeat(seeds[:, None], 9, 1), np.repeat(videos[None], 3, 0)
    expected = stats.ttest_1samp(seeds, 0).confidence_interval()
    assert np.allclose(bounds(m.mean_of(over_seeds)), expected)
    expected = stats.ttest_1samp(videos, 0).confidence_interval()
    assert np.allclose(bounds(m.mean_of(over_videos)), expected)
    welch = stats.ttest_ind(seeds, others, equal_var=False).confidence_interval()
    found = m.difference_of(over_seeds, np.repeat(others[:, None], 9, 1))
    assert np.allclose(bounds(found), welch)
    # Paired: what both methods find hard in a video is in neither's favour.
    shift = rng.normal(size=9)
    expected = stats.ttest_rel(videos + shift, videos).confidence_interval()
    found = m.difference_of(over_videos + shift, over_videos)
    assert np.allclose(bounds(found), expected)
    none = np.zeros(3)
    assert np.allclose(
        bounds(m.mean_of_sets(seeds, none, 9)), stats.ttest_1samp(seeds, 0).confidence_interval()
    )
    assert m.mean_of(over_seeds[:1]).half is None
    assert m.mean_of_sets(seeds, np.full(3, np.nan), 2).half is None


@pytest.mark.parametrize(("seeds", "videos"), [(0.0, 1.0), (1.0, 0.3), (1.0, 3.0)])
def test_intervals_hold_the_truth_at_least_as_often_as_they_say(
    load: Callable[[str], ModuleType], seeds: float, videos: float
) -> None:
    m, rng, trials = load("intervals"), np.random.default_rng(1), 1500

    def draw(hard: np.ndarray) -> np.ndarray:
        return rng.normal(size=(3, 1)) * seeds + hard + rng.normal(size=(3, 24))

    held = 0
    for _ in range(trials):
        hard = rng.normal(size=24) * videos
        held += m.difference_of(draw(hard), draw(hard)).holds_zero
    assert held / trials > 0.935  # 0.95 within two standard errors of the simulation


@pytest.mark.parametrize("name", ["budget", "gpu"])
def test_every_variant_gets_the_same_number_of_optimiser_steps(
    load: Callable[[str], ModuleType], name: str
) -> None:
    m = load("budget")
    budget = m.read_budget(TABLE3 / f"{name}.toml")
    totals = {v: sum(t["steps"] for _, t in budget.stages(v)) for v in m.VARIANTS}
    assert len(set(totals.values())) == 1
    assert [s for s, _ in budget.stages("clip+controlnet")] == ["1", "1-controlnet", "2"]
    assert budget.kind == "result"
    assert len(budget.runs()) == 4 * len(budget.seeds) >= 12


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [0, 1, 2]", "seeds = [0, 1]", "2 seeds: a result needs 3"),
        ("seeds = [0, 1, 2]", "seeds = [0, 1, 1]", "repeat"),
        ("steps = 700", "steps = 701", "odd"),
        ("guidance = 1.0", "guidence = 1.0", r"animation.guidance\?, animation.guidence\?"),
        ('"fvd"]', '"fid"]', "not all of"),
    ],
)
def test_a_budget_that_is_not_fair_is_refused(
    load: Callable[[str], ModuleType], tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (TABLE3 / "budget.toml").read_text()
    assert old in text
    (tmp_path / "budget.toml").write_text(text.replace(old, new))
    with pytest.raises(SystemExit, match=message):
        load("budget").read_budget(tmp_path / "budget.toml")


def write_run(out: Path, variant: str, seed: int, gain: float, sha256: str) -> None:
    """A finished run whose SSIM is `gain` above what its videos and seed are worth."""
    rng = np.random.default_rng(7)
    hard = rng.uniform(0.5, 0.7, 12)
    ssim = hard + gain + np.random.default_rng([seed, len(variant)]).normal(size=12) * 0.005
    values = {"ssim": ssim, "psnr": 30 * hard, "lpips_alex": 1 - ssim}
    videos = [f"puppet_{i}" for i in range(12)]
    metrics = {k: MetricValue(float(v.mean()), None, None, None, 12, None)
               for k, v in values.items()}  # fmt: skip
    fvd = 900.0 + 10 * seed
    metrics["fvd"] = MetricValue(fvd, fvd - 196, fvd + 196, None, 12, "rank-deficient")
    result = Result(
        schema=SCHEMA, method=variant, label="result", benchmark=None, protocol="aa-clean-v1",
        protocol_version="1", protocol_hash="0" * 64, metrics=metrics,
        per_video={v: {k: float(x[i]) for k, x in values.items()} for i, v in enumerate(videos)},
        references={v: f"hash of {v}" for v in videos}, regions={}, trimmed={}, num_videos=12,
        num_frames=240, weights={}, packages={}, overrides=(), machine="a machine",
        created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    folder = out / "runs" / f"{variant}-{seed}"
    write_result(folder / "result", result)
    write_result(folder / "result" / "baselines" / "repeat-reference", result)
    record = {"variant": variant, "seed": seed, "budget_sha256": sha256, "seconds": {"1": 60.0},
              "threads": 1, "cores": 2, "torch": "2", "date": "2026-01-01"}  # fmt: skip
    (folder / "record.json").write_text(json.dumps(record))


def cells(page: str, first: str, which: int) -> list[str]:
    """A row of the page's tables by its first cell."""
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in page.splitlines()]
    return [row for row in rows if row[0] == first][which]


def test_the_page_says_what_the_runs_show_and_no_more(
    load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    m = load("report")
    shutil.copyfile(TABLE3 / "budget.toml", tmp_path / "budget.toml")
    sha256 = load("budget").hash_of(tmp_path / "budget.toml")
    budget = m.read_budget(tmp_path / "budget.toml")
    assert "**0 of 12 runs are made: not a result yet.**" in m.report(tmp_path, budget)
    gains = {"clip": 0.0, "controlnet": 0.05, "clip+controlnet": 0.02, "reference_net": 0.1}
    for variant, seed in budget.runs()[:-1]:
        write_run(tmp_path, variant, seed, gains[variant], sha256)
    page = m.report(tmp_path, budget)
    assert "**11 of 12 runs are made: not a result yet.**" in page
    assert m.read_runs(tmp_path, budget).keys() == set(budget.runs()[:-1])
    assert "is better" not in page
    assert "runs are missing" in page

    write_run(tmp_path, *budget.runs()[-1], gains["reference_net"], sha256)
    page = m.report(tmp_path, budget)
    assert "It is not\nCLIP" in page or "It is not CLIP" in page
    ssim, psnr = (cells(page, h, 0) for h in ("SSIM ↑", "PSNR ↑ (dB)"))
    assert (ssim[1], ssim[3]) == ("`controlnet`", "ReferenceNet is better")
    assert float(ssim[2].split()[0]) == pytest.approx(0.05, abs=0.005)
    assert psnr[3] == "not shown here"  # equal for all
    assert cells(page, "LPIPS alex ↓", 0)[3] == "ReferenceNet is better"  # lower
    assert cells(page, "FVD ↓", 0)[3] == "not shown here"
    assert len([line for line in page.splitlines() if ", seed" in line and "minutes" not in line
                and line.startswith("|")]) == 12  # fmt: skip

    assert "Trained and animated on: a machine; 2 cores" in page
    record = tmp_path / "runs" / "clip-0" / "record.json"  # the first: of a GPU's run
    record.write_text(json.dumps({**json.loads(record.read_text()), "device": "a GPU"}))
    page = m.report(tmp_path, budget)
    assert "Trained and animated on: a GPU; 2 cores" in page
    assert "Scored on: a machine." in page

    for seed in budget.seeds:
        write_run(tmp_path, "reference_net", seed, 0.0, sha256)
    assert cells(m.report(tmp_path, budget), "SSIM ↑", 0)[3] == "ReferenceNet is worse"
    write_run(tmp_path, "clip", 0, 0.0, "0" * 64)
    with pytest.raises(SystemExit, match=r"clip-0 was made under another budget"):
        m.report(tmp_path, budget)


def test_the_sheet_shows_each_variant_in_its_column(
    load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    m = load("pictures")
    variants = load("budget").VARIANTS
    folders = [tmp_path / "references", *(tmp_path / "runs" / f"{v}-1" / "predictions"
                                          for v in variants)]  # fmt: skip
    for grey, folder in enumerate(folders):
        for puppet in ("a", "b"):
            (folder / puppet).mkdir(parents=True)
            for t in range(5):  # the grey level says whose frame it is, and which
                picture = np.full((8, 8, 3), 100 * (puppet == "b") + 10 * grey + t, np.uint8)
                Image.fromarray(picture).save(folder / puppet / f"{t:04d}.png")
    sheet = np.asarray(m.draw_sheet(tmp_path, seed=1, puppets=2))[m._HEAD_PX :]
    step = m._SIDE_PX + m._GAP_PX
    middles = sheet[m._SIDE_PX // 2 :: step, m._GAP_PX + m._SIDE_PX // 2 :: step, 0]
    of_first = [[0, 12, 22, 32, 42, 2], [0, 14, 24, 34, 44, 4]]
    expected = np.array(of_first + [[100 + x for x in row] for row in of_first])
    np.testing.assert_array_equal(middles, expected)
    shutil.rmtree(folders[-1])
    with pytest.raises(SystemExit, match="no predictions of reference_net"):
        m.draw_sheet(tmp_path, seed=1)


@pytest.mark.parametrize(("name", "page"), [("budget", "table3"), ("gpu", "table3_gpu")])
def test_the_committed_page_states_its_budget_and_all_runs(
    load: Callable[[str], ModuleType], name: str, page: str
) -> None:
    m = load("report")
    budget = m.read_budget(TABLE3 / f"{name}.toml")
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert m.introduce(budget, {})[-1] in text
    assert [f"| `{v}`, seed {s} |" in text for v, s in budget.runs()] == [True] * 12
    assert "not a result" not in text


def test_reference_net_starts_as_the_pre_trained_unet(
    load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(TINY.model, appearance="clip", use_pose=False)
    made_by = dict.fromkeys(set(parts_of(config)) - {"temporal_layers"}, "a test")
    write_checkpoint(tmp_path / "pretraining", AnimateAnyone(config), made_by)
    load("run").write_start(tmp_path / "pretraining", tmp_path / "start")
    info = read_checkpoint(tmp_path / "start")
    assert set(info.parts) == {"vae", "image_encoder", "reference_net", "denoising_unet"}
    assert info.model == TINY.model
    _, unet = read_part(tmp_path / "start", "denoising_unet")
    _, before = read_part(tmp_path / "pretraining", "denoising_unet")
    _, reference_net = read_part(tmp_path / "start", "reference_net")
    assert all(torch.equal(unet[name], before[name]) for name in before)
    assert reference_net
    assert all(torch.equal(t, unet[name]) for name, t in reference_net.items())


def test_a_step_is_run_once_and_again_after_it_failed(
    load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    steps, counted = load("run").Steps(tmp_path / "steps", "run"), tmp_path / "counted"
    program = Path(sys.executable).name
    code = f"open({str(counted)!r}, 'a').write('x'); print('said'); raise SystemExit({{}})"
    with pytest.raises(SystemExit, match=r"(?s)ended with 3.*said"):
        steps.run("one", program, "-c", code.format(3))
    assert steps.seconds() == {}
    for _ in range(2):
        steps.run("one", program, "-c", code.format(0))
    assert counted.read_text() == "xx"
    assert list(steps.seconds()) == ["one"]


def test_runs_of_another_budget_are_not_mixed(
    load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    m = load("run")
    m.keep_budget(TABLE3 / "budget.toml", tmp_path)
    m.keep_budget(TABLE3 / "budget.toml", tmp_path)
    with pytest.raises(SystemExit, match="runs of another budget"):
        m.keep_budget(TABLE3 / "trial.toml", tmp_path)


@pytest.mark.slow
def test_the_chain_of_one_run_from_puppets_to_the_page(tmp_path: Path) -> None:
    command = [sys.executable, str(TABLE3 / "run.py"), "--out", str(tmp_path), "--budget",
               str(TABLE3 / "trial.toml"), "--only", "clip+controlnet,0"]  # fmt: skip
    first = subprocess.run([*command, "--no-scores"], check=True, capture_output=True, text=True)
    assert "clip+controlnet-0: animate-real (aa-animate)" in first.stdout
    assert not (tmp_path / "runs" / "clip+controlnet-0" / "record.json").exists()
    scored = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "(aa-train)" not in scored.stdout
    assert "(aa-animate)" not in scored.stdout
    record = json.loads((tmp_path / "runs" / "clip+controlnet-0" / "record.json").read_text())
    assert set(record["seconds"]) == {
        "stage-1", "stage-1-controlnet", "stage-2",
        "animate", "evaluate", "animate-real", "evaluate-real",
    }  # fmt: skip
    page = (tmp_path / "table3.md").read_text(encoding="utf-8")
    assert "these numbers mean nothing" in page
    assert "1 of 8 runs are made" in page
    footage = page.partition("## On real footage")[2].partition("##")[0]
    assert "1 real clips that ship in packages" in footage
    assert re.search(r"\| `clip\+controlnet` \| 0\.\d{4}", footage)
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "clip+controlnet-0: stage-1-controlnet (aa-train)" in first.stdout
    assert "(aa-" not in again.stdout
