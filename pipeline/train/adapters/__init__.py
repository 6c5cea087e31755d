"""Adapters: a feed or loader enters, what a framework trains on leaves; one module per framework.

Each module is imported by itself, since it needs its framework. Plain torch, torchdata, accelerate
and Lightning need none: they take a `FeedLoader` or a `FeedDataset` (`docs/guide/feed.md`).
"""
