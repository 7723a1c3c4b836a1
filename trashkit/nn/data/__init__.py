"""From photos and label maps to batches: caching, sampling, augmentation and mixing."""
