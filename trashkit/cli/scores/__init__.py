"""Commands for scores and submissions: score, compare, submit, leaderboard."""
