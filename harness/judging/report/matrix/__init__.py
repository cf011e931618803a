"""A matrix for people: its page, its Markdown, its lines on a terminal."""
