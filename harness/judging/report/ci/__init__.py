"""A verdict in the forms that other tools read: JUnit, Markdown, annotations."""
