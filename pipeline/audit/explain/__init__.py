"""TODO audit.explain"""
