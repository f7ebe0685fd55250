"""How fast the steps of a run are on this machine, and how fast they could be; `benchmarks/` uses it too."""
