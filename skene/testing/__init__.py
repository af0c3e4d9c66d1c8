"""What tests of apps and adapters need: a world without networks, a clock that obeys, and the conformance suites."""
