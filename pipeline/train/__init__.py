"""The trainer stage, the one room that imports torch: batches in, weights and checkpoints out."""
