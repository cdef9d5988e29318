"""Where a number was computed: versions and machine, without names of hosts or people."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "animate-anyone-toolkit",
    "av",
    "lpips",
    "numpy",
    "pillow",
    "scikit-image",
    "scipy",
    "torch",
)


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that numbers depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe_machine(device: str) -> str:
    """Processor, cores, operating system and accelerator, e.g. "x86_64, 2 cores, Linux"."""
    words = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    if device.startswith("cuda"):
        import torch  # takes seconds to import: only where there is a device to name

        # off while scoring: `aa_eval.scoring.metric_runner.full_float32`
        words += f", {torch.cuda.get_device_name(device)}, TF32 off"
    return words
