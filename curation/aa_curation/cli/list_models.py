"""The models that recipes find in installed packages: pose, hands, face, and text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from aa_curation.errors import WeightsError
from aa_curation.models.tflite_file import MODELS, read_model
from aa_curation.text.detector import DETECTOR


def iter_models() -> Iterator[tuple[str, str, str]]:
    """(name, sha256, what is wrong with it or "") of each."""
    readers: dict[str, tuple[str, Callable[[], bytes]]] = {
        name: (sha256, partial(read_model, name)) for name, (_, sha256) in MODELS.items()
    }
    readers["text_detector"] = (DETECTOR.sha256, DETECTOR.read)
    for name, (sha256, read) in readers.items():
        try:
            read()
        except WeightsError as error:
            yield name, sha256, str(error)
        else:
            yield name, sha256, ""
