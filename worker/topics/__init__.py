"""One file per Kafka topic: what is in it, who writes it, how it is read.

`clicks`, `recommendations`, `dead_letters`, `releases`; `client` has the connection and the
translation of the client's errors, `transactions` the transactional producer, `admin` what must
exist and be allowed, `leader` which of several trainers trains. Only these modules import kafka-python.
"""
