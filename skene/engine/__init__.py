"""Pure values and functions: no await, no clock, no ids, no I/O."""
