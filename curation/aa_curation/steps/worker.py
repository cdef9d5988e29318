"""Worker: the steps of one process, and the one place where an unexpected error becomes a row."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2

from aa_curation.errors import PackageError, WeightsError
from aa_curation.ledger.records import Decision, PlannedClip, Survey, failed
from aa_curation.models.onnx_file import CPU, Device, running_on
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_curation.steps.curate_clip import curate_clip
from aa_curation.steps.pack_shard import pack_shard
from aa_curation.steps.survey import file_stamp, survey
from aa_curation.text.detector import TextDetector
from aa_datasets.pose_estimator import PoseEstimator


class Worker:
    """Surveys sources, curates clips and packs shards; holds the models.

    Args:
        recipe: what to do.
        clips_folder: where accepted clips go, in the folder of the corpus; shared by all workers.
        device: of the recipe's ONNX models. With a batch of several images, so many threads may
            call a worker's steps at the same time, each for a clip.
    """

    def __init__(self, recipe: Recipe, clips_folder: Path, device: Device = CPU) -> None:
        cv2.setNumThreads(1)  # a worker is one core; more threads cost and win nothing
        self._device, self._loading = device, threading.Lock()
        self._recipe = recipe
        self._folder = clips_folder
        self._estimator: PoseEstimator | None = None
        self._detector: TextDetector | None = None

    def survey(self, source: Source) -> Survey:
        """Never raises for a bad source; a missing model or package stops the run."""
        start_s = time.perf_counter()
        try:
            return survey(source, self._recipe)
        except (WeightsError, PackageError):
            raise
        except Exception as error:  # noqa: BLE001  # the executor's edge: a row, not a dead run
            took_s = time.perf_counter() - start_s
            row = failed(f"{source.source_id}-0000", source.source_id, "survey", error, took_s)
            return Survey(source.source_id, "", "", *file_stamp(source), (), (row,))

    def curate(self, planned: PlannedClip, source: Source) -> Decision:
        """Never raises for a bad clip; a missing model or package stops the run."""
        start_s = time.perf_counter()
        try:
            with running_on(self._device):
                row = curate_clip(
                    planned,
                    source,
                    self._recipe,
                    self._make_estimator,
                    self._folder,
                    self._make_detector,
                )
            return replace(row, seconds=round(time.perf_counter() - start_s, 3))
        except (WeightsError, PackageError):
            raise
        except Exception as error:  # noqa: BLE001  # the executor's edge: a row, not a dead run
            took_s = time.perf_counter() - start_s
            return failed(planned.clip_id, planned.source_id, "clip", error, took_s)

    def pack(self, name: str, decisions: Sequence[Decision]) -> int:
        """Write a shard of these accepted clips; returns its size in bytes. Raises where one of
        their files is not the one that was accepted."""
        return pack_shard(name, decisions, self._folder.parent)

    def _make_estimator(self) -> PoseEstimator:
        with self._loading:
            if self._estimator is None:
                self._estimator = self._recipe.make_estimator()
            return self._estimator

    def _make_detector(self) -> TextDetector | None:
        with self._loading:
            if self._detector is None and self._recipe.text is not None:
                self._detector = self._recipe.text.make_detector()
            return self._detector
