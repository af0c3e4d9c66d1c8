"""What the engine needs from outside, as Protocols.

Their docstrings are the contracts every adapter keeps.
"""
