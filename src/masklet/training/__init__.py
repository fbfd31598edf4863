"""Training: clips with simulated prompts, losses, the loop."""
