"""The seam to Kafka: the only modules that import kafka-python."""
