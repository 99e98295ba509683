"""FocusVLA (arXiv 2603.28740): cascaded attention, its visual part on few patches and gated."""
