"""Sessions hold the state of a piece of work: one picture, or one video with its tracked objects."""
