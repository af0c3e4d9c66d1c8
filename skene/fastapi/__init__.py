"""skene for FastAPI.

Gates on routes, answers for refusals, and the routes that billing and people come back to.
"""

from skene.fastapi.gate import Gate

__all__ = ["Gate"]
