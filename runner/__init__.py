"""Compare code-generation frameworks by running each in containers on the same scenarios."""
