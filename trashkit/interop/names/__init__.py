"""Class names: lists of them in files and options, and what their numbers mean in each format."""
