"""Nextclick's worker, the serving program. It never imports TensorFlow or the trainer.

`__main__`      the command line
`commands`      its commands
`wiring`        the assembly of a worker from its settings
`loop`          the main loop: poll, apply, rank, publish, checkpoint
`checkpoint`    the transaction that makes states, outputs and offsets durable together
`partitions`    the partitions of a worker: recovery, flushing, deletion
`releases`      adoption of new releases without a restart
`live_quality`  reports of how often users click on recommended items
`topics`        the record format of each Kafka topic, with its readers and writers
`schemas`       record values and keys in the wire format of a schema registry
`kafka`         the Kafka client, behind an interface with an in-memory implementation
`http`          /metrics, /livez, /readyz, /v1/users/{user_id}
`process`       stop requests, retries, watchdog, memory, logging
`core`          the computation: pure, without Kafka, clock or network
"""
