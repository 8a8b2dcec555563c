"""Which release wins: the sequential test of a candidate against the champion on live clicks."""
