"""Networks: models, losses, augmentation, training and prediction. Only this package imports torch."""

from __future__ import annotations

import os

# By default the threads of an operation spin while they wait for each other. Where another program holds one of the
# cores, that made training fifteen times as slow; sleeping costs hardly anything. Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
