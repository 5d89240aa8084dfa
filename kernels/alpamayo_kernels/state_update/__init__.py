"""One step of the Mamba-2 recurrence."""

from alpamayo_kernels.state_update.fused import selective_state_update

__all__ = ["selective_state_update"]
