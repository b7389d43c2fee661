"""Two tokenizers on the same texts, before any training: what matches, what would be lost, where it hurts."""
