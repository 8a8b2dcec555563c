"""Nextclick's serving program. It never imports TensorFlow or the trainer.

`__main__`  the command line, and the only place where things are wired
`loop`      the program as a story: poll, absorb, rank, publish, checkpoint
`core`      what is computed: pure, NumPy only
`topics`    one file per Kafka topic; only these import the client
`http`      /metrics, /livez, /readyz
`config`, `metrics`, `errors`, `stop`, `garbage`

Imports point one way: `__main__ -> loop -> topics | http | metrics -> core -> errors`.
"""
