"""Commands for training: split, train, pseudo, sweep, soup, recipes, runs, report."""
