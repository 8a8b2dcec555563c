"""The interface to Kafka; only these modules import kafka-python."""
