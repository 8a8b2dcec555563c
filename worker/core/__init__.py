"""The worker's computations: pure functions and columns, NumPy only.

No Kafka, no clock, no environment in here: time and bytes come in as arguments. `event` decodes,
`states` keeps the users' rows, `cells` steps, `release` holds weights and `catalogue`, `ranking`
finds the top K, `recommender` is the walk of a batch through all of them.
"""
