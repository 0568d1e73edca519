"""Speed and size against peers: `python -m benchmarks.<subject> [--json]`. See docs/performance.md."""
