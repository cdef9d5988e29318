"""Captions by a command of your choice: one text file for each accepted clip."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from aa_curation.errors import CaptionError
from aa_curation.ledger.ledger import Ledger
from aa_curation.steps.pack_shard import CLIPS
from aa_datasets.atomic_file import replace_file
from aa_datasets.progress import progress


def write_captions(
    ledger: Ledger, folder: Path, captions: Path, command: str, *, timeout_s: float = 600.0
) -> dict[str, str]:
    """Run a command on each accepted clip that has no caption yet; write what it prints.

    The files are `<clip_id>.txt`, as `aa-datasets export --captions` reads them. The command is
    not run by a shell.

    Args:
        ledger: of the corpus.
        folder: of the corpus, which holds clips/.
        captions: folder of the files; created where it is missing.
        command: words, of which `{}` stands for the clip's mp4; without `{}` it comes last.
        timeout_s: of one clip.

    Returns:
        What went wrong, by clip id: these clips have no caption, and the next call tries again.

    Raises:
        CaptionError: the command is empty, or its program cannot be run.
    """
    words = shlex.split(command)
    if not words:
        raise CaptionError("the command is empty: give a program that prints a caption for an mp4")
    if "{}" not in words:
        words.append("{}")
    captions.mkdir(parents=True, exist_ok=True)
    todo = [
        clip_id
        for clip_id in ledger.ids_of("accepted")
        if not (captions / f"{clip_id}.txt").is_file()
    ]
    troubles: dict[str, str] = {}
    for clip_id in progress(todo, desc="captions", unit="clips"):
        mp4 = (folder / CLIPS / f"{clip_id}.mp4").resolve()
        try:
            done = subprocess.run(
                [str(mp4) if word == "{}" else word for word in words],
                capture_output=True, timeout=timeout_s, check=True,
            )  # fmt: skip
        except OSError as error:
            raise CaptionError(f"cannot run {words[0]}: {error.strerror}") from error
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
            troubles[clip_id] = f"exit code {error.returncode}: {''.join(last)}"
        except subprocess.TimeoutExpired:
            troubles[clip_id] = f"took more than {timeout_s:g} s"
        else:
            text = done.stdout.decode(errors="replace").strip()
            if text:
                replace_file(captions / f"{clip_id}.txt", f"{text}\n".encode())
            else:
                troubles[clip_id] = "it printed nothing"
    return troubles
