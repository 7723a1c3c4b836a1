"""Defects planted in the synthetic data set, and how many of them an audit finds."""
