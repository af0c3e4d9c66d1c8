"""A local Paddle for tests: an account in memory behind the API that Paddle documents, with webhooks."""

from skene.testing.paddle_server.fake import FakePaddle

__all__ = ["FakePaddle"]
