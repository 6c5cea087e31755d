"""The lock: the files of a mixture's origins, pinned by digest."""
