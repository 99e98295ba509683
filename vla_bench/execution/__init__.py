"""Executors: run rollouts and yield records."""
