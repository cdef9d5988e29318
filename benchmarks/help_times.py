"""CPU seconds of `--help` and `--version` of every command, each in a fresh process.

usage: python benchmarks/help_times.py [--rounds 7]

Prints a Markdown table: the median over the rounds of user and system time. The goal is 0.5 s.
Commands take turns, so that a busy moment of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from statistics import median
from time import strftime

GOAL_S = 0.5
OPTIONS = ("--help", "--version")


def commands() -> dict[str, str]:
    """The installed commands of this project, name to "module:function"."""
    scripts = metadata.entry_points(group="console_scripts")
    return {entry.name: entry.value for entry in scripts if entry.name.startswith("aa-")}


def cpu_seconds(target: str, option: str) -> float:
    """User and system time of one fresh process that does what the console script does."""
    module, function = target.split(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}())"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, option], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    targets = commands()
    for target in targets.values():  # the first run of all writes the bytecode
        cpu_seconds(target, "--help")
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, target in targets.items():
            for option in OPTIONS:
                times.setdefault((name, option), []).append(cpu_seconds(target, option))
    print(f"{strftime('%Y-%m-%d')}, {os.cpu_count()} CPUs, {platform.processor() or _processor()}, "
          f"Python {platform.python_version()}, median of {rounds}\n")  # fmt: skip
    print("| command | `--help`, CPU s | `--version`, CPU s |\n|---|---|---|")
    for name in sorted(targets):
        cells = " | ".join(f"{median(times[name, option]):.2f}" for option in OPTIONS)
        print(f"| `{name}` | {cells} |")
    slowest = max(median(values) for values in times.values())
    print(f"\nslowest: {slowest:.2f} s; goal: {GOAL_S} s")
    return int(slowest > GOAL_S)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1].strip() for line in lines if "model name" in line), "")


if __name__ == "__main__":
    sys.exit(main())
