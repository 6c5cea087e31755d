"""TODO stages"""
