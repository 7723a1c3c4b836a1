"""Networks: models, losses, augmentation, training and prediction. torch lives here and nowhere else."""

from __future__ import annotations

import os

# By default the threads of an operation spin while they wait for each other. Where another program holds one of the
# cores, that made training fifteen times as slow; sleeping costs next to nothing. Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
