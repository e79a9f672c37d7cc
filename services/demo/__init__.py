"""What the demo, the tests and the benchmarks stand on: loopback stand-ins for the outside world. Never part of a running desk."""
