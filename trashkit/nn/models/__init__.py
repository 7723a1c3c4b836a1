"""Networks, encoders and the weights they start from."""
