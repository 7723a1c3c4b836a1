"""The command line: one thin module per command parses options, calls one function and shows the result."""
