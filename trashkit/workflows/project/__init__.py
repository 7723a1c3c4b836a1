"""Make a project of a folder: what its files are, and the project file that names them."""
