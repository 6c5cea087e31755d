"""Adapters: what a framework needs beyond a `FeedLoader`, one module for each that needs something.

Plain torch, torchdata, accelerate and Lightning need nothing. `docs/guide/feed.md` says how each
is used.
"""
