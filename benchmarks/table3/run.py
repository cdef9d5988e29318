"""The miniature Table 3: four ways to show the reference, at equal optimiser steps.

    python benchmarks/table3/run.py --out table3-out [--only reference_net,0] [--no-scores]

Makes and curates puppets, pre-trains one UNet without reference and pose (it stands for Stable
Diffusion), trains every variant and seed of the budget from it, animates and scores held-out
puppets, all by the installed commands, and writes OUT/table3.md and its picture. What is finished
is not made again, and training resumes from its last save: it may be killed at any time. As
many runs go side by side as there are cores, each on a thread of its own: small networks gain
little from a second one. Commands take a GPU where there is one; `--no-scores` leaves scoring to
another machine, which is given OUT and runs the same command without it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from budget import VARIANTS, Budget, Table, hash_of, read_budget

from aa_datasets.atomic_file import replace_file
from aa_model.checkpoints.store import read_checkpoint, read_part, write_parts
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import part_parameters
from aa_model.presets import PRESETS

ROOT = Path(__file__).parents[2]
_FIRST_TEST_SEED = 1_000_000
_SAVE_EVERY = 100  # steps: what a kill costs at most
_THREADS = 1  # of a run


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def describe_machine() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else platform.machine(),
        "threads": _THREADS,
        "cores": _cores(),
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


@dataclass(frozen=True)
class Steps:
    """Commands of which each is run once: NAME.json in `folder` says so, NAME.log is its output."""

    folder: Path
    whose: str

    def run(self, name: str, *command: object) -> None:
        """Run an installed command unless it is done.

        Raises:
            SystemExit: it failed; the end of its output is shown.
        """
        marker = self.folder / f"{name}.json"
        if marker.is_file():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        program, *words = (str(word) for word in command)
        print(f"{self.whose}: {name} ({program})", flush=True)
        # Next to this Python, or where `pip install --target` left it.
        bin_folder = Path(sys.executable).parent
        path = shutil.which(program, path=f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
        if path is None:
            raise SystemExit(f"{program} is not installed")
        started, log = time.monotonic(), self.folder / f"{name}.log"
        with log.open("a") as output:
            done = subprocess.run([path, *words], stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)
        if done.returncode:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise SystemExit(f"{program} ended with {done.returncode}; the end of {log}:\n{end}")
        note = {"seconds": round(time.monotonic() - started, 1), "command": [program, *words],
                "machine": describe_machine()}  # fmt: skip
        replace_file(marker, (json.dumps(note, indent=1) + "\n").encode())

    def machine(self, name: str) -> dict[str, Any]:
        """On which a step was run, and when."""
        found: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text())["machine"]
        return found

    def seconds(self) -> dict[str, float]:
        """Of every step that is done; of one that was killed, of its last part alone."""
        notes = {path.stem: json.loads(path.read_text()) for path in self.folder.glob("*.json")}
        return {name: note["seconds"] for name, note in sorted(notes.items()) if "seconds" in note}


@dataclass(frozen=True)
class Shared:
    """What all runs have in common; held-out clips and their references by kind."""

    train: list[Path]
    test: dict[str, list[Path]]  # "" are puppets, "-real" is footage
    start: Path
    references: dict[str, Path]


def flags(table: Table) -> list[str]:
    """A table of the budget as a command's flags."""
    return [w for key, value in table.items() for w in (f"--{key.replace('_', '-')}", str(value))]


def train_flags(out: Path, cache_gb: float) -> list[object]:
    return ["--out", out, "--resume", "--save-every", _SAVE_EVERY, "--cache-gb", cache_gb]


def prepare(out: Path, budget: Budget, corpus: Path | None, cache_gb: float) -> Shared:
    """Corpus, references and the start that all variants share."""
    steps = Steps(out / "shared", "shared")
    if corpus is None:
        corpus, puppets = out / "corpus", budget.puppets
        common = ["--frames", puppets["num_frames"], "--fps", puppets["fps"]]
        sources: list[object] = []
        for split, first in (("train", 0), ("test", _FIRST_TEST_SEED)):
            folder = out / f"puppets-{split}"
            steps.run(folder.name, "aa-datasets", "puppets", "--out", folder, "--split", split,
                      "--count", puppets[split], "--first-seed", first, *common)  # fmt: skip
            sources += ["--sources", folder]
        steps.run("curate", "aa-curate", "run", "curation/recipes/demo.py", *sources,
                  "--out", corpus)  # fmt: skip
    train, test = (sorted((corpus / "shards").glob(f"{s}-[0-9]*.tar")) for s in ("train", "test"))
    if not train or not test:
        raise SystemExit(f"{corpus / 'shards'} lacks train-*.tar or test-*.tar")
    held_out = {"": test}
    if budget.real:
        steps.run("curate-real", "aa-curate", "run", "curation/recipes/demo.py", "--sources",
                  budget.real, "--out", out / "real")  # fmt: skip
        held_out["-real"] = sorted((out / "real" / "shards").glob("*.tar"))
    height, width = PRESETS[budget.preset].model.size_hw
    assert height == width, "aa-datasets export writes squares"
    references = {kind: out / f"references{kind}" for kind in held_out}
    for kind, shards in held_out.items():
        steps.run(f"references{kind}", "aa-datasets", "export", *shards, "--out", references[kind],
                  "--size", height, "--max-frames", budget.animation["max_frames"])  # fmt: skip
    pretraining = out / "pretraining"
    # Every reference dropped: null tokens, so the UNet learns what puppets look like and no more.
    steps.run("pretraining", "aa-train", *train, "--preset", budget.preset, "--stage", "1",
              "--appearance", "clip", "--no-pose", "--reference-drop", 1,
              "--init", ROOT / budget.start, *flags(budget.pretraining),
              *train_flags(pretraining, cache_gb))  # fmt: skip
    start = out / "start"
    if not (start / "config.json").is_file():
        write_start(pretraining, start)
    return Shared(train, held_out, start, references)


def write_start(pretraining: Path, start: Path) -> None:
    """The pre-trained UNet as denoising UNet and, as the paper does with SD's, as ReferenceNet."""
    config = replace(read_checkpoint(pretraining).model, appearance="reference_net", use_pose=True)
    with torch.device("meta"):
        wanted = part_parameters(AnimateAnyone(config), "reference_net")
    record, unet = read_part(pretraining, "denoising_unet")
    copied = dict.fromkeys(("vae", "image_encoder", "denoising_unet"), pretraining)
    reference_net = {name: unet[name] for name in wanted}
    write_parts(start, config, {"reference_net": reference_net},
                {"reference_net": f"the denoising UNet of {record.made_by}"},
                copied=copied)  # fmt: skip


def run(out: Path, budget: Budget, shared: Shared, variant: str, seed: int, more: Table) -> None:
    """Train, animate and, if `more` says so, score one variant and seed; record.json comes last."""
    folder = out / "runs" / f"{variant}-{seed}"
    if (folder / "record.json").is_file():
        return
    steps, before = Steps(folder / "steps", folder.name), shared.start
    for stage, table in budget.stages(variant):
        appearance = ["--appearance", variant] if stage == "1" else []
        steps.run(f"stage-{stage}", "aa-train", *shared.train, "--preset", budget.preset,
                  "--stage", stage, *appearance, "--init", before, *flags(table), "--seed", seed,
                  *train_flags(folder / stage, more["cache_gb"]))  # fmt: skip
        before = folder / stage
    for kind, shards in shared.test.items():
        predictions = folder / f"predictions{kind}"
        steps.run(f"animate{kind}", "aa-animate", "--checkpoint", before, "--shards", *shards,
                  "--out", predictions, *flags(budget.animation))  # fmt: skip
    if not more["scores"]:
        return
    for kind in shared.test:
        steps.run(f"evaluate{kind}", "aa-eval", folder / f"predictions{kind}", "--references",
                  shared.references[kind], "--protocol", budget.evaluation["protocol"],
                  "--method", f"{variant}, seed {seed}", "--label", budget.kind,
                  "--baselines", "repeat-reference", "--cache", out / "eval-cache",
                  "--out", folder / f"result{kind}")  # fmt: skip
    seconds = steps.seconds()
    record = {
        "variant": variant,
        "seed": seed,
        "budget_sha256": hash_of(out / "budget.toml"),
        "seconds": seconds,
        **steps.machine("stage-2"),
    }
    replace_file(folder / "record.json", (json.dumps(record, indent=1) + "\n").encode())
    print(f"{folder.name}: {sum(seconds.values()) / 60:.1f} minutes")


def keep_budget(budget: Path, out: Path) -> Budget:
    """Copy the budget into the folder of the runs.

    Raises:
        SystemExit: runs under another budget are there.
    """
    kept, read = out / "budget.toml", read_budget(budget)
    if kept.is_file() and hash_of(kept) != hash_of(budget):
        raise SystemExit(f"{out} holds runs of another budget: {kept}; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(budget, kept)
    return read


def chosen(budget: Budget, only: str | None) -> list[tuple[str, int]]:
    if only is None:
        return budget.runs()
    variant, _, seed = only.partition(",")
    wanted = [(v, s) for v, s in budget.runs() if v == variant and str(s) == seed]
    if not wanted:
        raise SystemExit(
            f"--only {only}: expected VARIANT,SEED of {', '.join(VARIANTS)} and {budget.seeds}"
        )
    return wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--budget", type=Path, default=Path(__file__).with_name("budget.toml"))
    parser.add_argument("--corpus", type=Path, help="of aa-curate: shards/train-*.tar, test-*.tar")
    parser.add_argument("--only", metavar="VARIANT,SEED", help="one run; the others later")
    parser.add_argument("--cache-gb", type=float, default=3.0, help="decoded clips, of aa-train")
    parser.add_argument("--no-scores", dest="scores", action="store_false",
                        help="train and animate alone: aa-eval is elsewhere")  # fmt: skip
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(_THREADS)  # of the commands
    out = args.out.resolve()
    budget = keep_budget(args.budget, out)
    runs = chosen(budget, args.only)
    corpus = args.corpus.resolve() if args.corpus else None
    shared = prepare(out, budget, corpus, args.cache_gb)
    more = {"cache_gb": args.cache_gb, "scores": args.scores}
    with ThreadPoolExecutor(_cores()) as pool:
        try:
            for each in [pool.submit(run, out, budget, shared, *one, more) for one in runs]:
                each.result()
        finally:
            pool.shutdown(cancel_futures=True)  # after a failure: those that have not started
    if not args.scores:
        return
    report = Path(__file__).with_name("report.py")
    written = ["--write", out / "table3.md"]
    if args.only is None:
        written += ["--picture", out / "table3.png"]
    subprocess.run([sys.executable, report, out, *written], check=True)


if __name__ == "__main__":
    main()
