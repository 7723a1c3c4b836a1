"""Training recipes: TOML files, each with its reason; see `trashkit recipes list`."""
