"""Several nights, one after the other: `python -m infra.learn`, or `make learn`."""
