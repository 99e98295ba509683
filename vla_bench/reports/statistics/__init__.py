"""Intervals and tests for success rates; numbers in, numbers out."""
