"""Records and judgements become pages, terminal views and scripts."""
