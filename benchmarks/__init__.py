"""What Segue is measured by: throughput against other ways of doing the same, latency, size of state."""
