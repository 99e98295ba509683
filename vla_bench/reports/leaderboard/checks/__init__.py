"""The check of a submission: whether a run folder, or a file of quoted numbers, is what it says it is."""
