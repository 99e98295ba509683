"""Bridges: policies that live in other programs, over the protocols that their servers speak."""
