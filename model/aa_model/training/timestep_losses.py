"""Loss by timestep: the mean over all of them hides which noise levels still learn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aa_model.training.distributed import Processes, sum_over_processes


class TimestepLosses:
    """Mean unweighted error of each tenth of the timesteps, since the last row was taken, over the
    clips of all processes.

    Args:
        num_train_timesteps: of the schedule.
        buckets: how many equal spans; the last holds the noisiest timesteps.
    """

    def __init__(self, num_train_timesteps: int, processes: Processes, buckets: int = 10) -> None:
        self.processes = processes
        self.num_train_timesteps = num_train_timesteps
        self.buckets = buckets
        self.rows: list[list[float]] = []  # step, then one mean per bucket, NaN where none fell
        self._clear()

    def observe(self, timesteps: Tensor, errors: Tensor) -> None:
        """timesteps int64 [V], errors [V]."""
        which = (timesteps.cpu() * self.buckets // self.num_train_timesteps).long()
        self._total.index_add_(0, which, errors.detach().cpu().double())
        self._count.index_add_(0, which, torch.ones(len(which), dtype=torch.float64))

    def take_row(self, step: int) -> list[float]:
        """Close the means since the last call as a row of this step; nothing seen adds none.

        Every process must call it.
        """
        total, count = sum_over_processes(torch.stack([self._total, self._count]), self.processes)
        row = [float(step), *(total / count).tolist()]
        if count.any():
            self.rows.append(row)
        self._clear()
        return row

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}  # saved when a row was taken: nothing was seen since

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]

    def _clear(self) -> None:
        self._total = torch.zeros(self.buckets, dtype=torch.float64)
        self._count = torch.zeros(self.buckets, dtype=torch.float64)
