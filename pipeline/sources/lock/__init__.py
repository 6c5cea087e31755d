"""The lock: what was found at the origins of a mixture, once, so that a build can insist on it.

`make` asks the origins and writes nothing; `form` is the file; `compare` says what differs, and
refuses what was not locked; `place` says where a pulled file lies; `bytes` checks what is there.
"""
