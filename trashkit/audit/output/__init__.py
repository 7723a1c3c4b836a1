"""Output of an audit: the HTML page, GitHub annotations and JSON."""
