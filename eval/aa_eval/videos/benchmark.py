"""Benchmark: which videos a public test split has, and where aa-eval looks for them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from aa_eval.errors import EvalError, PairingError
from aa_eval.parse import parse
from aa_eval.videos.layout import VideoFolder


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A public test split.

    Attributes:
        name, title, source: for people.
        protocols: computed together: the bug-compatible one of the published tables, and ours.
        layout: what the references are and where they come from, in words.
        made_by: the command that makes the folder of references from the user's own copy.
        video_ids: of the test split.
    """

    name: str
    title: str
    source: str
    protocols: tuple[str, ...]
    layout: str
    made_by: str
    video_ids: tuple[str, ...]

    @property
    def references(self) -> Path:
        """Where the references are looked for when no folder is named."""
        return Path("data") / self.name / "references"

    @property
    def predictions(self) -> Path:
        """Where the predictions are looked for when no folder is named."""
        return Path("data") / self.name / "predictions"

    def describe(self) -> str:
        """What a user must know before scoring on it, as lines."""
        lines = [
            f"{self.name}: {self.title}",
            f"source: {self.source}",
            f"protocols: {', '.join(self.protocols)}",
            f"references: {self.references}/: {self.layout}",
            f"made by: {self.made_by}",
            f"predictions: {self.predictions}/, named after the references, with as many frames",
            f"{len(self.video_ids)} videos:",
            *(f"  {video_id}" for video_id in self.video_ids),
        ]
        return "\n".join(lines)

    def require_folders(self, references: Path, predictions: Path | None) -> None:
        """Say what to put where.

        Raises:
            PairingError: one of the folders is absent.
        """
        absent = []
        if not references.exists():
            absent.append(
                f"references into {references}/ ({self.layout}); `{self.made_by}` makes that "
                f"folder from your copy of the {len(self.video_ids)} videos "
                f"{', '.join(self.video_ids[:10])}{', ...' if len(self.video_ids) > 10 else ''}"
            )
        if predictions is not None and not predictions.exists():
            absent.append(
                f"predictions into {predictions}/ (named after the references, with as many frames)"
            )
        if absent:
            raise PairingError(
                f"{self.title}: put the {'; and the '.join(absent)}. "
                "Or name other folders: PREDICTIONS --references DIR"
            )

    def split_problem(self, references: VideoFolder) -> str | None:
        """How the references differ from the test split, or None."""
        missing = [v for v in self.video_ids if v not in references.videos]
        extra = sorted(references.videos.keys() - set(self.video_ids))
        if not missing and not extra:
            return None
        found = len(self.video_ids) - len(missing)
        words = [f"benchmark {self.name}: {found} of {len(self.video_ids)} test videos"]
        for name, ids in (("missing", missing), ("not of the test split", extra)):
            if ids:
                words.append(f"{name}: {', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}")
        return "; ".join(words)


def list_benchmarks() -> list[str]:
    """Names that `read_benchmark` knows, sorted."""
    folder = files("aa_eval") / "benchmarks"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def read_benchmark(name: str) -> Benchmark:
    """The benchmark called `name`, from benchmarks/<name>.toml.

    Raises:
        EvalError: no such benchmark.
    """
    if name not in list_benchmarks():
        raise EvalError(f"--benchmark {name}: choose from {', '.join(list_benchmarks())}")
    text = (files("aa_eval") / "benchmarks" / f"{name}.toml").read_text(encoding="utf-8")
    return parse(tomllib.loads(text), Benchmark)
