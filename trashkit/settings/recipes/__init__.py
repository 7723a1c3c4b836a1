"""Training recipes: TOML files with settings and the reason for them; see `trashkit recipes list`."""
