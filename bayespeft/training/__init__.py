"""The objective, the loop that minimises it, and how long it goes on."""
