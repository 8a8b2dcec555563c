"""Schemas of clicks, and records framed by Confluent's own serializers."""
