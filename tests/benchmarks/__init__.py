"""How fast skene is, beside what people use today: `make bench` writes docs/benchmarks.md."""
