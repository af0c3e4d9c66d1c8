"""The gates that are compared: ours, and the others as their own documentation would have them written."""
