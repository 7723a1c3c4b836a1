"""The App's server: FiftyOne's own, in a process of its own, behind a guard that only lets the reviewer in."""
