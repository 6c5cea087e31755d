"""TODO runner.tasks"""
