"""Backbones whose deep language layers share attention with a vision expert (DeepVision-VLA)."""
