"""The formats of the topics: what each contains, who writes it, and how it is read.

`needs`, `watch` and `sample` check the topics; `state_scan` and `state_changes` read and change the state
topic for commands. All access to Kafka goes through `worker.kafka`.
"""
