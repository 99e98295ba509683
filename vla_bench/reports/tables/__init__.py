"""One table object, and its renderings: Markdown, CSV, LaTeX and HTML say the same numbers."""
