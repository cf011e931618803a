"""The page of a bisect, and the script that measures its answer again."""
