"""Inference: prediction, test-time augmentation, ONNX export, embeddings, photo classification."""
