"""Training and evaluation data: synthetic clips and published datasets."""
