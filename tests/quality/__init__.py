"""Quality on public data by the published protocols. `make quality`."""
