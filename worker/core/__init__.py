"""The worker's computations: pure functions over columns, with NumPy as the main dependency.

Nothing here uses Kafka, a clock, the environment or the network: time and bytes come in as arguments. `event`
decodes records, `states` holds the user rows, `cells` advances them, `release` holds weights and `catalogue`,
`ranking` finds the top K, and `recommender` runs a batch through all of these.
"""
