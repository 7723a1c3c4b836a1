"""Photos: decoding, EXIF orientation, sizes, perceptual hashes and near-duplicates."""
