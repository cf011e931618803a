"""The language of both worlds: frozen types, their versioned JSON, and where files lie."""
