"""Tasks: what one worker does with one input file; each writes files and returns a record."""
