"""A/B tests: a sequential test of the candidate against the champion on live clicks."""
