"""The trainer: from clicks to a release that the worker serves.

A package imports only from packages that are listed below it::

    commands      a module for each command
    continuous    retraining runs, the gate, leader election     tuning   settings search
    experiment    A/B tests: which release wins on live clicks
    training      training of a model: read `training.fit` first
    evaluation    measuring the quality of a release             release  packing a release, storing it
    model         network, losses, optimizer, blend; TensorFlow is imported only here
    dataset       sessions, hold-out, features, batches, counts, lists of items
    clicks        sources of clicks: files, a topic, the archive
    config, errors, console, files_on_disk
"""
