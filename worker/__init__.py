"""Nextclick's serving program. It never imports TensorFlow or the trainer.

`__main__`  the command line, and the only place where things are wired
`loop`      the program as a story: poll, apply, rank, publish, checkpoint
`core`      what is computed: pure, NumPy only
`topics`    one file per Kafka topic; only these import the client
`refresh`   how a release gets into service while clicks go on
`reporting` live quality, counted with the checkpoint
`recovery`  how the states of a partition come back
`saving`    how they are saved: step 1 of the checkpoint
`commands`  `look` inside, `forget` a person, `reset`
`http`      /metrics, /livez, /readyz, /v1/users/{user_id}
`config`, `metrics`, `errors`, `stop`, `watchdog`, `garbage`

Imports point one way: `__main__ -> loop -> recovery | saving -> topics | http | metrics -> core -> errors`.
"""
