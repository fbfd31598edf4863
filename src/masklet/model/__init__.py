"""The network: one file per box of the paper's figure, torch only, no state between calls."""
