"""The training loop and its parts: losses, optimisers, schedules, checkpoints, validation."""
