"""Write the board as CSV, Markdown, LaTeX and HTML."""
