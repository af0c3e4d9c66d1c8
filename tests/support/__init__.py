"""What the tests need from the outside world: real servers, started and stopped for them alone."""
