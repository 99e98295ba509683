"""Scripted experts for the mobile-manipulation tasks and the motion machinery under them."""
