"""The leaderboard: a static site of runs and of published numbers, and the check of a submission."""
