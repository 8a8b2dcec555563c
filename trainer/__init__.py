"""The trainer: from clicks to a release that the worker serves. The only home of TensorFlow.

events     clicks from files as one table, and its cleaning; topic: from Kafka
sessions   cut into sessions, divided by time, as arrays of item indexes; data: all of that told
batches    sessions of like length in batches, without padding to speak of
network    the Keras network and what of it goes into a release
losses     softmax cross-entropy over the whole catalogue
fit        clicks in, release out: the story of a training
evaluate   a release on held-out clicks, through the worker's own core
baselines  what the network has to beat
publish    a release folder, written, read, and sent to Kafka
"""
