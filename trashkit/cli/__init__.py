"""The command line: one thin module per command, options in, one library call, the result shown."""
