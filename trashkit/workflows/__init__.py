"""Complete jobs that combine several packages; each is a function that a notebook can call."""
